"""The main job with Triton: build, test, run and ask over HTTP and gRPC; what is in the image, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from builder.host import Host
from builder.host.container import ContainerSpec
from builder.host.docker import connect
from builder.model.golden import GoldenCase, read_case
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.plan.prune import PruneRules
from builder.probe.runner import ProbedImage
from builder.servers.triton_upstream import UpstreamTriton
from builder.targets.wheel_stage import runtime_rules, stage_wheels
from builder.targets.wheels import fetch_wheels, resolve_wheels
from tests.scenarios.conftest import Mbuild
from tests.support import onnx_models
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import tiny_layout
from tests.support.triton import GRPC, PLATFORM, running_triton, triton_serving
from tests.support.waiting import until_ready

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(Platform.of_this_machine() != PLATFORM, reason="Triton's wheel is for linux/amd64"),
]
MEGABYTE = 1_000_000


def ask(library: Any, client: Any, case: GoldenCase) -> None:
    """A golden case, over either protocol."""
    inputs = []
    for name, array in case.inputs.items():
        tensor = library.InferInput(name, list(array.shape), "FP32")
        tensor.set_data_from_numpy(array)
        inputs.append(tensor)
    answer = client.infer("digits", inputs)
    for name, expected in case.outputs.items():
        np.testing.assert_allclose(answer.as_numpy(name), expected, rtol=1e-3, atol=1e-4)


def test_build_test_and_ask_over_http_and_grpc(mbuild: Mbuild, digits: Path, host: Host, tmp_path: Path) -> None:
    result = mbuild.json(digits, "--server", "triton", "--no-load", "-o", tmp_path / "layout")
    assert result["identifier"] == "onnx-triton-cpu-linux_amd64"
    assert result["image"]["size"] < 90 * MEGABYTE
    assert result["test"]["runner"] == "embedded"
    assert not any(check["findings"] for check in result["test"]["checks"])
    assert len(result["test"]["cases"]) >= 3
    layout = Layout(tmp_path / "layout")
    manifest = layout.manifest(layout.find(platform=PLATFORM))
    image = ProbedImage(layout=layout, manifest=manifest, config=layout.config(manifest))
    case = read_case(min((digits / "golden").glob("*.npz")))
    with running_triton(image, host) as running:
        with closing(tritonclient.http.InferenceServerClient("{}:{}".format(*running.address))) as client:
            assert client.get_server_metadata()["version"] == "2.51.0"
            assert client.get_model_config("digits")["max_batch_size"] == 256
            ask(tritonclient.http, client, case)
        assert running.stop(60) == 0
    with running_triton(image, host, port=GRPC) as running:
        address = "{}:{}".format(*running.address)
        with closing(tritonclient.grpc.InferenceServerClient(address)) as client:
            ask(tritonclient.grpc, client, case)
    again = mbuild("plan", digits, "--server", "triton", "--locked")
    assert again.returncode == 0, again.stderr


@pytest.mark.docker
def test_it_runs_in_docker_as_production_would_run_it(mbuild: Mbuild, digits: Path) -> None:
    result = mbuild.json(digits, "--server", "triton", "--load", "--no-test")
    engine = connect()
    assert engine is not None
    container = engine.start(ContainerSpec(image=result["image"]["loaded_as"], port=8000, memory_bytes=1 << 30))
    try:
        address = "{}:{}".format(*container.address)
        until_ready(address)
        with closing(tritonclient.http.InferenceServerClient(address)) as client:
            ask(tritonclient.http, client, read_case(min((digits / "golden").glob("*.npz"))))
        assert container.stop(grace_seconds=60) == 0
    finally:
        container.remove()


HANDLER = """
import numpy as np

class Unreadable(Exception):
    status = 422

def preprocess(inputs):
    rows = [line.decode().split(",") for line in inputs["line"]]
    if any(len(row) != 4 for row in rows):
        raise Unreadable("a line needs 4 numbers")
    return {"x": np.array(rows, np.float32)}

def postprocess(outputs):
    return {"best": np.array([f"{row.argmax()} by {row.max():.2f}" for row in outputs["p"]])}
"""
LINES = {
    "schema": 1,
    "inputs": [{"name": "line", "datatype": "BYTES", "shape": ["batch"]}],
    "outputs": [{"name": "best", "datatype": "BYTES", "shape": ["batch"]}],
    "before": {"step": "handler", "file": "handler.py", "feeds": {"x": "x"}},
    "after": {"step": "handler", "file": "handler.py", "takes": {"p": "p"}},
}
CASE = GoldenCase(name="one", inputs={"x": np.array([[1, 2, 3, 4]], np.float32)}, outputs={})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, host: Host) -> Iterator[Any]:
    """A client of a Triton with a small graph, one that takes text, and a plain model with steps of Python."""
    place = tmp_path_factory.mktemp("triton")
    folder = place / "models"
    onnx_models.place(folder, "mlp", onnx_models.mlp(), cases=(CASE,))
    onnx_models.place(folder, "text", onnx_models.identity("BYTES"))
    lines = onnx_models.place(folder, "lines", onnx_models.mlp(), cases=(CASE,)) / "1"
    (lines / "interface.json").write_text(json.dumps(LINES))
    (lines / "handler.py").write_text(HANDLER)
    (place / "image").mkdir()
    with (
        triton_serving(folder, place / "image", host) as address,
        closing(tritonclient.http.InferenceServerClient(address, concurrency=8)) as client,
    ):
        yield client


def test_requests_that_run_together_get_their_own_rows(models: Any) -> None:
    waiting = [models.async_infer("mlp", [_rows(number)]) for number in range(1, 17)]
    for number, request in enumerate(waiting, 1):
        assert request.get_result().as_numpy("p").shape == (number, 3)


def test_one_bad_request_fails_alone(models: Any) -> None:
    good, bad = _text("x", [[b"gr\xc3\xbcn"]]), _text("x", [[b"\xff"]])
    answers = [models.async_infer("text", [each]) for each in (good, bad, good)]
    assert answers[0].get_result().as_numpy("y").tolist() == [["gr\u00fcn".encode()]]
    with pytest.raises(InferenceServerException, match=r"\[400\] .*not UTF-8"):
        answers[1].get_result()
    assert answers[2].get_result().as_numpy("y").tolist() == [["gr\u00fcn".encode()]]


def test_a_plain_model_takes_what_people_have(models: Any) -> None:
    assert {each["name"] for each in models.get_model_repository_index()} == {"mlp", "text", "lines", "lines-tensors"}
    answer = models.infer("lines", [_text("line", [b"1,2,3,4", b"9,0,0,0"])])
    assert answer.as_numpy("best").tolist() == [b"0 by 0.88", b"0 by 0.33"]
    with pytest.raises(InferenceServerException, match=r"\[400\] a line needs 4 numbers"):
        models.infer("lines", [_text("line", [b"1,2"])])


def _rows(count: int) -> Any:
    tensor = tritonclient.http.InferInput("x", [count, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((count, 4), np.float32))
    return tensor


def _text(name: str, items: list[Any]) -> Any:
    array = np.array(items, object)
    tensor = tritonclient.http.InferInput(name, list(array.shape), "BYTES")
    tensor.set_data_from_numpy(array)
    return tensor


@pytest.mark.registry
def test_an_image_of_others_brings_its_own_triton(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str], tmp_path: Path
) -> None:
    bases = {}
    for name, programs in (("whole", UpstreamTriton.programs), ("other", UpstreamTriton.programs[:1])):
        layout = tiny_layout(tmp_path / name, more=tuple(str(path.relative_to("/")) for path in programs))
        bases[name] = str(registry.fresh(name))
        mbuild.json("push", layout.path, bases[name], **registry_environ)
    words = ("plan", digits, "--server", "triton", "--base")
    plan = mbuild.json(*words, bases["whole"], **registry_environ)
    assert [layer["role"] for layer in plan["layers"]] == ["model"]
    assert plan["config"]["entrypoint"][0] == "/opt/tritonserver/bin/tritonserver"
    locked = json.loads((digits / "mbuild.lock").read_text())["targets"]["onnx-triton-cpu-linux_amd64"]
    assert (locked["wheels"], locked["base"]["python"]) == ([], "")
    assert mbuild(*words, bases["whole"], "--locked", **registry_environ).returncode == 0
    refused = mbuild(*words, bases["other"], **registry_environ)
    assert "base-lacks-server" in refused.stderr
    assert "libtriton_onnxruntime.so, /usr/bin/curl" in refused.stderr


def test_every_rule_about_tritons_wheel_earns_its_place(host: Host) -> None:
    site = PurePosixPath("/opt/site")
    wheels = resolve_wheels(("nvidia-pytriton==0.7.0",), "3.11.2", PLATFORM, (2, 36), host)
    fetch_wheels(wheels, "3.11.2", host)
    rules = runtime_rules(("triton",))
    whole = stage_wheels(wheels, site, PruneRules(prune={}, keep={}), host)
    sizes = {entry.path.relative_to(site): entry.size for entry in whole.entries if entry.digest}
    paths = list(sizes)
    assert {rules.pruned_by(path) for path in paths} - {None} == set(rules.prune)
    for glob in rules.keep:
        assert any(PruneRules(prune={glob: ""}, keep={}).pruned_by(path) for path in paths), f"{glob} keeps nothing"
    kept = {path: size for path, size in sizes.items() if rules.pruned_by(path) is None}
    assert PurePosixPath("pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub") in kept
    assert sum(kept.values()) < 115 * MEGABYTE
