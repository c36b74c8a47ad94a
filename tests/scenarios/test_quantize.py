"""Smaller and faster, by proof: a small transformer and a small CNN, quantised, judged, built and served."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import builder.convert.worker
from builder.convert.quantize import NotQuantizable, quantize
from builder.host import Host
from builder.model.bounds import Quantize
from builder.model.golden import GoldenCase
from builder.model.metric import MetricNotComputed
from builder.oci.platform import Platform
from builder.pipeline.model import find_model, load_model
from builder.pipeline.quantize import CalibrationMissing, Quantization, quantize_model
from builder.plan.spec import BuildSpec, ConvertOptions
from builder.targets import find_target
from tests.scenarios.conftest import Mbuild
from tests.support.hosts import fresh_host

pytestmark = pytest.mark.network

NEWER = [
    name for name, known in np._core._multiarray_umath.__cpu_features__.items()  # type: ignore[attr-defined]
    if known and name in np._core._multiarray_umath.__cpu_dispatch__  # type: ignore[attr-defined]
]  # fmt: skip
"""What numpy found beyond its baseline on this machine."""

NUMBERS = np.random.default_rng(7)


def tensor(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array((NUMBERS.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32), name)


def saved(directory: Path, graph: onnx.GraphProto) -> Path:
    directory.mkdir()
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, directory / "model.onnx")
    return directory


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One block: embeddings, attention, two dense layers."""
    width = 128
    nodes = [helper.make_node("Gather", ["words", "ids"], ["h"])]
    nodes += [helper.make_node("MatMul", ["h", f"w{name}"], [name], name=name) for name in "qkv"]
    nodes += [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["weights"], axis=-1),
        helper.make_node("MatMul", ["weights", "v"], ["mixed"]),
        helper.make_node("MatMul", ["mixed", "up"], ["wide"]),
        helper.make_node("Relu", ["wide"], ["active"]),
        helper.make_node("MatMul", ["active", "down"], ["y"]),
    ]
    weights = [tensor("words", 500, width), *(tensor(f"w{name}", width, width) for name in "qkv")]
    weights += [tensor("up", width, 4 * width), tensor("down", 4 * width, width)]
    graph = helper.make_graph(
        nodes,
        "transformer",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "sequence"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "sequence", width])],
        weights,
    )
    return saved(tmp_path_factory.mktemp("models") / "transformer", graph)


@pytest.fixture(scope="module")
def cnn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three convolutions and a dense layer, with inputs to calibrate with and labels to judge by."""
    nodes, last = [], "image"
    for number in range(3):
        nodes.append(helper.make_node("Conv", [last, f"k{number}", f"b{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        last = f"r{number}"
    nodes += [
        helper.make_node("GlobalAveragePool", [last], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["scores"]),
    ]
    weights = [tensor("k0", 16, 3, 3, 3), tensor("k1", 32, 16, 3, 3), tensor("k2", 32, 32, 3, 3)]
    weights += [tensor("b0", 16), tensor("b1", 32), tensor("b2", 32), tensor("w", 32, 10), tensor("b", 10)]
    graph = helper.make_graph(
        nodes,
        "cnn",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, 16, 16])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    directory = saved(tmp_path_factory.mktemp("models") / "cnn", graph)
    images = NUMBERS.uniform(-1, 1, (32, 3, 16, 16)).astype(np.float32)
    for folder, arrays in (("calibration", {"image": images}), ("labelled", {"image": images, "label": np.arange(32)})):
        (directory / folder).mkdir()
        np.savez(directory / folder / "a.npz", **arrays)
    (directory / "model.yaml").write_text("metric: {name: accuracy}\n")
    return directory


def run(directory: Path, host: Host, asked: str, lock: Path, *, locked: bool = False) -> Quantization:
    options = ConvertOptions(quantize=Quantize(asked))
    platform = Platform.of_this_machine()
    spec = BuildSpec(
        model=directory, target="cpu", server="http", platform=platform, base=None, lock=lock, locked=locked,
        convert=options,
    )  # fmt: skip
    target = find_target("cpu", platform)
    found = find_model(directory, options)
    return quantize_model(spec, found.source, load_model(found, target, host), target, host)


@pytest.mark.parametrize(("mode", "smaller"), [("fp16", 1.9), ("int8-dynamic", 3.5), ("int4", 4)])
def test_a_transformer_gets_smaller_and_stays_itself(
    transformer: Path, host: Host, tmp_path: Path, mode: str, smaller: float
) -> None:
    made = run(transformer, host, mode, tmp_path / "lock")
    first, variant = made.variants
    assert first.size > smaller * variant.size
    assert variant.worst is not None
    assert 0 < variant.worst.error < 0.4
    assert made.choice.chosen == mode
    assert (
        made.model.digest
        != load_model(find_model(transformer), find_target("cpu", Platform.of_this_machine()), host).digest
    )
    assert {case.name for case in made.cases} == {case.name for case in made.model.cases}


def test_the_same_model_gives_the_same_quantised_bytes(
    transformer: Path, cnn: Path, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where numpy may not use what newer processors have."""
    environ = builder.convert.worker._environ
    plainer = {"NPY_DISABLE_CPU_FEATURES": " ".join(NEWER), "PYTHONHASHSEED": "99"}
    image = {"image": np.full((8, 3, 16, 16), 0.3, np.float32)}
    given = (GoldenCase(name="a", inputs=image, outputs={}),)
    for directory, mode, cases in (
        (transformer, "int8-dynamic", ()),
        (transformer, "int4", ()),
        (transformer, "fp16", ()),
        (cnn, "int8-static", given),
    ):
        model = load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)
        made = []
        for number, more in enumerate(({}, plainer)):
            monkeypatch.setattr(
                builder.convert.worker, "_environ", lambda *given, more=more: {**environ(*given), **more}
            )
            fresh = fresh_host(tmp_path / f"{mode}-{number}", host)
            made.append(quantize(model.artifact, mode, cases, fresh) / "model.onnx")
        assert made[0].read_bytes() == made[1].read_bytes(), mode


def test_a_convolution_is_never_quantised_dynamically(cnn: Path, host: Host, tmp_path: Path) -> None:
    with pytest.raises(NotQuantizable, match=r"it quantises MatMul, Gemm, Gather .* the rest is in Conv") as caught:
        run(cnn, host, "int8-dynamic", tmp_path / "lock")
    assert caught.value.exit_code == 2


def test_static_ranges_need_inputs_of_the_users_own(transformer: Path, host: Host, tmp_path: Path) -> None:
    with pytest.raises(CalibrationMissing, match="there are 0 samples of 8") as caught:
        run(transformer, host, "int8-static", tmp_path / "lock")
    assert caught.value.exit_code == 3


def test_what_is_too_far_off_is_stopped(mbuild: Mbuild, transformer: Path, tmp_path: Path) -> None:
    directory = tmp_path / "strict"
    directory.mkdir()
    (directory / "model.onnx").write_bytes((transformer / "model.onnx").read_bytes())
    (directory / "model.yaml").write_text("quantize: {mode: int8-dynamic, error: 1e-9}\n")
    done = mbuild("plan", directory)
    assert done.returncode == 6
    assert "in int8-dynamic the model is another one: output 'y' has error" in done.stderr
    assert not (directory / "mbuild.lock").exists()
    assert mbuild("plan", directory, "--quantize", "none").returncode == 0


def test_labels_that_do_not_fit_are_named(cnn: Path, host: Host, tmp_path: Path) -> None:
    model = load_model(find_model(cnn), find_target("cpu", Platform.of_this_machine()), host)
    assert model.manifest.metric is not None
    broken = replace(model.manifest, metric=replace(model.manifest.metric, output="nothing"))
    target = find_target("cpu", Platform.of_this_machine())
    spec = BuildSpec(
        model=cnn, target="cpu", server="http", platform=Platform.of_this_machine(), base=None, lock=tmp_path / "lock",
        locked=False, convert=ConvertOptions(quantize=Quantize.FP16),
    )  # fmt: skip
    with pytest.raises(MetricNotComputed, match="`output` must be one of scores"):
        quantize_model(spec, find_model(cnn).source, replace(model, manifest=broken), target, host)


def test_auto_measures_once_and_the_lock_keeps_it(mbuild: Mbuild, cnn: Path, tmp_path: Path) -> None:
    """A real measurement, a real image; then the same choice without measuring, also where a lock from elsewhere has
    another one than this machine would take."""
    lock, words = tmp_path / "mbuild.lock", ("--quantize", "auto", "--no-load")
    first = mbuild.json("build", cnn, "--lock", lock, *words)
    told = first["quantize"]
    by_name = {line["variant"]: line for line in told["variants"]}
    assert set(by_name) == {"fp32", "fp16", "int8-dynamic", "int8-static", "int4"}
    assert told["asked"] == "auto"
    assert all(by_name[name]["seconds"] > 0 for name in ("fp32", "fp16", "int8-static"))
    assert by_name["fp32"]["metric"] == by_name["fp16"]["metric"]
    assert by_name["fp32"]["size"] > 2 * by_name["int8-static"]["size"]
    assert by_name["int8-static"]["problem"] == ""
    assert "the rest is in Conv" in by_name["int8-dynamic"]["problem"]
    entry = json.loads(lock.read_text())
    (target,) = entry["targets"].values()
    assert target["quantize"] == {"asked": "auto", "chosen": told["chosen"]}

    target["quantize"]["chosen"] = other = "int8-static" if told["chosen"] != "int8-static" else "fp16"
    lock.write_text(json.dumps(entry))
    second = mbuild.json("build", cnn, "--lock", lock, *words)
    assert second["quantize"]["chosen"] == other
    assert all(line["seconds"] is None for line in second["quantize"]["variants"])
    assert second["test"]["cases"]

    third = mbuild.json("build", cnn, "--lock", lock, "--locked", *words)
    assert third["image"]["digest"] == second["image"]["digest"]
    assert [step["name"] for step in third["steps"] if step["cached"]][:3] == ["detect", "convert", "quantize"]
