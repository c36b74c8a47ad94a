"""The reference: real onnxruntime in a real environment answers cases, or says why it does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import pytest

from builder.convert.envs import ensure_environment
from builder.convert.reference import REFERENCE, CaseNotAnswered, ModelNotRunnable, answer_cases
from builder.events import Progress, StepFinished, StepStarted
from builder.host import Host
from builder.host.run import Command, Completed, Process
from builder.model.golden import GoldenCase
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest
from builder.resources import worker_source
from tests.support import models, onnx_models
from tests.support.hosts import RecordedEvents, fresh_host

pytestmark = pytest.mark.network


class NoProcesses:
    """A runner that fails the test."""

    def run(self, command: Command) -> Completed:
        raise AssertionError(f"started {command.argv}")

    def start(self, command: Command, output: object) -> Process:
        raise AssertionError(f"started {command.argv}")

    def which(self, program: str) -> Path | None:
        raise AssertionError(f"looked for {program}")


def artifact(path: Path, *others: str) -> ModelArtifact:
    names = (path.name, *others)
    files = tuple(
        (PurePosixPath(name), path.parent / name, Digest.of((path.parent / name).read_bytes())) for name in names
    )
    return ModelArtifact(files=files, opset=17)


def case(**inputs: object) -> GoldenCase:
    return GoldenCase(name="one", inputs={name: np.asarray(value) for name, value in inputs.items()}, outputs={})


def test_numbers_are_answered(host: Host, tmp_path: Path) -> None:
    model = artifact(models.save_mlp(tmp_path / "model.onnx"))
    zeros, ones = case(x=np.zeros((2, 4), np.float32)), replace(case(x=np.ones((1, 4), np.float32)), name="two")
    answered = answer_cases(model, (zeros, ones), host)
    assert [(found.name, found.outputs["p"].shape, str(found.outputs["p"].dtype)) for found in answered] == [
        ("one", (2, 3), "float32"),
        ("two", (1, 3), "float32"),
    ]
    assert np.allclose(answered[0].outputs["p"].sum(axis=1), 1)
    assert answered[0].inputs is zeros.inputs


@pytest.mark.parametrize("datatype", ["FP16", "FP64", "INT8", "UINT64", "BOOL"])
def test_each_datatype_comes_back_as_it_went(host: Host, tmp_path: Path, datatype: str) -> None:
    kinds = {"FP16": "f2", "FP64": "f8", "INT8": "i1", "UINT64": "u8", "BOOL": "?"}
    given = np.array([[0, 1], [1, 0]], dtype=kinds[datatype])
    model = artifact(models.save_identity(tmp_path / "model.onnx", datatype))
    (answered,) = answer_cases(model, (case(x=given),), host)
    assert answered.outputs["y"].dtype == given.dtype
    assert (answered.outputs["y"] == given).all()


def test_strings_travel_as_bytes(host: Host, tmp_path: Path) -> None:
    model = artifact(models.save_identity(tmp_path / "model.onnx", "BYTES"))
    given = np.array([["grüße".encode(), b""], [b"a", b"bc"]])
    (answered,) = answer_cases(model, (case(x=given),), host)
    assert answered.outputs["y"].tolist() == given.tolist()


@pytest.mark.parametrize("laid_out", [True, False])
def test_external_data_is_found(host: Host, tmp_path: Path, laid_out: bool) -> None:
    path = models.save_external(tmp_path / "model.onnx")
    model = artifact(path, "weights/w.bin")
    if not laid_out:
        path.rename(tmp_path / "graph")
        (tmp_path / "weights" / "w.bin").rename(tmp_path / "data")
        names = {"model.onnx": "graph", "weights/w.bin": "data"}
        files = tuple((name, tmp_path / names[str(name)], digest) for name, _, digest in model.files)
        model = replace(model, files=files)
    value = np.full((1, 4), 1.0 + laid_out, np.float32)  # two keys, so that neither is answered from the store
    (answered,) = answer_cases(model, (case(x=value),), host)
    assert answered.outputs["y"].tolist() == (value @ np.arange(32, dtype=np.float32).reshape(4, 8)).tolist()


_MEMORY_OF_A_SESSION = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from onnx_reference import load

def made() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024

before = made()
session = load(sys.argv[2], in_place=bool(int(sys.argv[3])))
print(made() - before)
"""


def test_large_weights_are_not_copied(host: Host, tmp_path: Path) -> None:
    """They are mapped; what onnxruntime would make of them otherwise shows that this looks at the right figure."""
    path = models.save_products(tmp_path / "products" / "model.onnx", count=16)
    weights = (path.parent / "weights.bin").stat().st_size
    python = ensure_environment(REFERENCE, host)

    def memory(in_place: int) -> int:
        words = (str(worker_source("onnx_reference").parent), str(path), str(in_place))
        done = host.run.run(Command(argv=(str(python), "-c", _MEMORY_OF_A_SESSION, *words)))
        assert done.ok, done.complaint
        return int(done.stdout)

    assert memory(1) < weights // 4
    assert memory(0) > weights // 2


def test_large_weights_are_answered_with_as_the_server_does(host: Host, tmp_path: Path) -> None:
    path = models.save_products(tmp_path / "products" / "model.onnx", count=4)
    plain = artifact(path, "weights.bin")
    asked = case(x=np.random.default_rng(0).random((3, 1024), dtype=np.float32))
    (packed,) = answer_cases(plain, (asked,), host)
    (mapped,) = answer_cases(replace(plain, reads_in_place=True), (replace(asked, name="again"),), host)
    np.testing.assert_allclose(mapped.outputs["y"], packed.outputs["y"], rtol=1e-4, atol=1e-5)


def test_the_second_answer_starts_no_process(host: Host, tmp_path: Path) -> None:
    model = artifact(models.save_mlp(tmp_path / "model.onnx"))
    asked = (case(x=np.full((1, 4), 3, np.float32)),)
    first = answer_cases(model, asked, host)
    again = answer_cases(model, asked, replace(host, run=NoProcesses()))
    assert (again[0].outputs["p"] == first[0].outputs["p"]).all()


def test_an_environment_is_made_once(make_host: Callable[..., Host]) -> None:
    host = make_host()
    python = ensure_environment(REFERENCE, host)
    assert isinstance(host.events, RecordedEvents)
    steps = [type(event) for event in host.events.events if not isinstance(event, Progress)]
    assert steps == [StepStarted, StepFinished]
    assert ensure_environment(REFERENCE, replace(host, run=NoProcesses())) == python
    listed = host.run.run(
        Command(argv=(str(python), "-c", "from importlib.metadata import *; print(*(d.name for d in distributions()))"))
    )
    assert sorted(listed.stdout.decode().split()) == ["numpy", "onnxruntime"]


def test_an_environment_whose_python_is_gone_is_made_again(make_host: Callable[..., Host]) -> None:
    host = make_host()
    python = ensure_environment(REFERENCE, host)
    python.unlink()
    python.symlink_to("/nonexistent/python")
    assert ensure_environment(REFERENCE, host).exists()


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"z": np.zeros((1, 4), np.float32)}, r"the case gives \['z'\], the model takes \['x'\]"),
        ({"x": np.zeros((1, 5), np.float32)}, r"Got: 5 Expected: 4"),
        ({"x": np.zeros((1, 4), np.float64)}, r"Unexpected input data type"),
    ],
)
def test_inputs_that_do_not_fit_are_told(host: Host, tmp_path: Path, inputs: dict[str, object], reason: str) -> None:
    model = artifact(models.save_mlp(tmp_path / "model.onnx"))
    with pytest.raises(CaseNotAnswered, match=reason) as caught:
        answer_cases(model, (case(**inputs),), host)
    assert caught.value.facts["kind"] == "wrong-inputs"


def test_a_failure_while_running_is_told(host: Host, tmp_path: Path) -> None:
    model = artifact(models.save(onnx_models.two_inputs(), tmp_path / "model.onnx"))
    pair = np.zeros((2, 2), np.float32)
    with pytest.raises(CaseNotAnswered, match="out of data bounds") as caught:
        answer_cases(model, (case(a=pair, b=pair, index=np.array([9])),), host)
    assert caught.value.exit_code == 5


def opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 28


def ir_version(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def operator(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Unheard"


@pytest.mark.parametrize(
    ("change", "kind"),
    [(opset, "unsupported-opset"), (ir_version, "unsupported-opset"), (operator, "unsupported-operator")],
)
def test_what_onnxruntime_cannot_do_is_told(
    host: Host, tmp_path: Path, change: Callable[[onnx.ModelProto], None], kind: str
) -> None:
    proto = onnx_models.mlp()
    change(proto)
    with pytest.raises(ModelNotRunnable) as caught:
        answer_cases(artifact(models.save(proto, tmp_path / "model.onnx")), (case(x=np.zeros((1, 4))),), host)
    assert caught.value.facts["kind"] == kind
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.advice


def test_a_truncated_model_is_told(host: Host, tmp_path: Path) -> None:
    path = models.save_mlp(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:-20])
    alone = fresh_host(tmp_path / "cache", host)
    with pytest.raises(ModelNotRunnable, match="Protobuf parsing failed") as caught:
        answer_cases(artifact(path), (case(x=np.zeros((1, 4))),), alone)
    assert caught.value.facts["kind"] == "bad-model"
    assert not list((alone.store.root / "scratch").iterdir())
