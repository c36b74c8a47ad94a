"""What ``--server triton`` adds to an image, and what of model.yaml it honours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

from builder.host.trees import TreeWriter
from builder.model.attached import MOUNT_PATH, SUB_PATH
from builder.model.golden import GoldenCase
from builder.model.interface import Interface
from builder.model.manifest import ModelManifest
from builder.model.server_settings import ServerSettings
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest
from builder.servers import PackedModel, PackedPlain, Server, find_server
from builder.servers.http import HttpServer
from builder.servers.triton import PROGRAM, TritonServer
from builder.servers.triton_backend.launch import STUB
from builder.servers.triton_config import NotForTriton
from builder.servers.triton_upstream import UpstreamTriton

PYTHON = PurePosixPath("/usr/bin/python3.11")
SPEC = TensorSpec(name="x", datatype=Datatype.FP32, shape=("batch", 2))
SIGNATURE = Signature(inputs=(SPEC,), outputs=(SPEC,))
FILES = {str(file.path): file for file in TritonServer().files()}


def packed(directory: Path, **settings: object) -> PackedModel:
    graph = directory / "graph"
    graph.write_bytes(b"graph")
    return PackedModel(
        manifest=ModelManifest(name="small", server=ServerSettings(**settings)),  # type: ignore[arg-type]
        signature=SIGNATURE,
        artifact=ModelArtifact(files=((PurePosixPath("model.onnx"), graph, Digest.of(b"graph")),), opset=17),
        cases=(GoldenCase(name="one", inputs={"x": np.ones((1, 2), np.float32)}, outputs={}),),
    )


def test_the_stub_is_the_one_of_this_python_and_where_the_launcher_looks() -> None:
    link = FILES[STUB]
    assert str(link.path.parent) == f"{PROGRAM}/backends/python"
    assert link.target == "../../python_backend_stubs/3.11/triton_python_backend_stub"


@pytest.mark.parametrize("name", ["sh", "bash"])
def test_what_stands_in_for_a_shell_is_a_script_for_the_images_python(name: str) -> None:
    file = FILES[f"/usr/bin/{name}"]
    assert file.mode == 0o755
    assert file.content.startswith(b"#!/usr/bin/python3.11 ")


def test_the_packages_are_named_in_a_path_file() -> None:
    (path,) = [name for name in FILES if name.endswith(".pth")]
    assert path == "/usr/local/lib/python3.11/dist-packages/mbuild.pth"
    assert FILES[path].content.decode().splitlines() == ["/opt/mbuild/runtime", "/opt/mbuild/server"]


@pytest.mark.parametrize("server", [HttpServer(), TritonServer(), TritonServer(on_gpu=True), UpstreamTriton()])
def test_a_model_is_in_the_directory_that_a_volume_takes_the_place_of(server: Server, tmp_path: Path) -> None:
    model, tree = packed(tmp_path), TreeWriter(tmp_path / "tree")
    server.write_model(tree, model)
    volume = PurePosixPath(MOUNT_PATH)
    written = {entry.path for entry in tree.finish().entries}
    assert server.model_home("small") / "model.onnx" in written
    assert all(path == volume or path.is_relative_to(volume) for path in written)
    assert not [file.path for file in server.files() if file.path.is_relative_to(volume)]
    assert volume.relative_to("/") == PurePosixPath(SUB_PATH)


def test_the_model_lies_as_triton_looks_for_it(tmp_path: Path) -> None:
    writer = TreeWriter(tmp_path / "tree")
    TritonServer().write_model(writer, packed(tmp_path))
    paths = {str(path) for path, entry in writer.entries.items() if entry.digest}
    assert {
        "/models/small/config.pbtxt",
        "/models/small/1/model.onnx",
        "/models/small/1/model.py",
        "/models/small/warmup/input_0",
        "/models/small/golden/one.npz",
    } <= paths
    assert b'name: "small"' in writer.read("/models/small/config.pbtxt")


def test_it_starts_as_an_ordinary_user_and_does_not_serve_what_failed_to_load(tmp_path: Path) -> None:
    config = TritonServer().config(PYTHON, (packed(tmp_path),), ServerSettings(grace_seconds=7.4))
    assert config.entrypoint[0].endswith("/bin/tritonserver")
    assert {"--exit-on-error=true", "--strict-readiness=true", "--exit-timeout-secs=7"} <= set(config.entrypoint)
    assert (config.user, config.ports, config.cmd) == ("10001:10001", (8000, 8001, 8002), ())
    assert dict(config.env)["ORT_DISABLE_TELEMETRY"] == "1"
    assert "LD_LIBRARY_PATH" not in dict(config.env)


def test_on_an_image_of_others_its_own_backend_for_onnx_serves(tmp_path: Path) -> None:
    server = find_server("triton", on_upstream=True)
    assert server.programs[0] == PurePosixPath("/opt/tritonserver/bin/tritonserver")
    assert server.files() == ()
    writer = TreeWriter(tmp_path / "tree")
    server.write_model(writer, packed(tmp_path))
    assert b'backend: "onnxruntime"' in writer.read("/models/small/config.pbtxt")
    assert PurePosixPath("/models/small/1/model.py") not in writer.entries
    config = server.config(PYTHON, (packed(tmp_path),), ServerSettings())
    assert config.entrypoint[0] == str(server.programs[0])
    assert not [word for word in config.entrypoint if "/opt/mbuild" in word]


def test_steps_of_python_need_packages_that_an_image_of_others_lacks(tmp_path: Path) -> None:
    interface = Interface(signature=SIGNATURE, before={"step": "pass"}, after={"step": "pass"})
    plain = replace(packed(tmp_path), plain=PackedPlain(interface=interface, files=(), cases=()))
    assert tuple(find_server("triton").check(plain)) == ()
    with pytest.raises(NotForTriton, match="its steps run in Python"):
        find_server("triton", on_upstream=True).check(plain)


def test_the_minimal_server_is_packed_on_any_base() -> None:
    assert find_server("http", on_upstream=True) is find_server("http")


def test_settings_without_an_effect_are_told(tmp_path: Path) -> None:
    assert tuple(TritonServer().check(packed(tmp_path, threads=2, grace_seconds=5.0))) == ()
    body, queue = TritonServer().check(packed(tmp_path, max_body_bytes=1000, queue=9))
    assert "server.max_body_bytes (1000) has no effect" in body.message
    assert "server.queue (9) has no effect" in queue.message


def test_servers_that_write_a_model_otherwise_have_forms_of_their_own() -> None:
    """By which the trees are kept: a processor must not get what was written for a GPU."""
    every = [
        find_server("triton", on_upstream=upstream, on_gpu=gpu) for upstream in (False, True) for gpu in (False, True)
    ]
    forms = [server.form for server in (find_server("http"), *every)]
    assert len(set(forms)) == len(forms)
    assert find_server("http", on_gpu=True).form == find_server("http").form
