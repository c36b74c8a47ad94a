"""The main job, as a user does it: build, test, push with a password, pull by digest, run, ask with tritonclient."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import np_to_triton_dtype

from builder.host.container import ContainerSpec
from builder.host.docker import connect
from builder.model.golden import read_case
from builder.model.measured import REPORT_TYPE
from builder.oci.layout import Layout
from builder.resources import schema_file
from tests.scenarios.conftest import ROOT, Mbuild
from tests.support.closures import unnoticed
from tests.support.registries import SecuredRegistry
from tests.support.waiting import until_ready

MEGABYTE = 1_000_000


@contextmanager
def served(image: str) -> Iterator[str]:
    """The image in a container as production would run it; its address."""
    engine = connect()
    assert engine is not None
    container = engine.start(ContainerSpec(image=image, port=8000, memory_bytes=1 << 30))
    try:
        address = "{}:{}".format(*container.address)
        until_ready(address)
        yield address
    finally:
        container.remove()


def ask(address: str, case_file: Path, *, binary: bool) -> None:
    """Replay a golden case with NVIDIA's own client."""
    case = read_case(case_file)
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("digits")
    inputs = []
    for name, array in case.inputs.items():
        tensor = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in case.outputs]
    answer = client.infer("digits", inputs, outputs=outputs)
    for name, expected in case.outputs.items():
        np.testing.assert_allclose(answer.as_numpy(name), expected, rtol=1e-3, atol=1e-4)
    client.close()


def test_the_result_follows_its_schema_and_the_image_is_small_and_whole(
    mbuild: Mbuild, digits: Path, tmp_path: Path
) -> None:
    result = mbuild.json(digits, "-o", tmp_path / "layout")
    jsonschema.validate(result, json.loads(schema_file("result").read_bytes()))
    roles = {layer["role"]: layer for layer in result["layers"]}
    assert list(roles) == ["base", "runtime", "server", "model"]
    without_model = sum(layer["size"] for role, layer in roles.items() if role != "model")
    assert without_model <= 45 * MEGABYTE
    assert result["test"]["exit_code"] == 0
    assert len(result["test"]["cases"]) >= 3
    looked_at = {check["name"]: check["findings"] for check in result["test"]["checks"]}
    assert {"non-root-user", "no-shell", "no-writes", "no-outbound", "no-telemetry", "libraries-present"} <= set(
        looked_at
    )
    assert not any(looked_at.values())
    silent, tried = unnoticed(Layout(tmp_path / "layout"), tmp_path / "store")
    assert not silent and tried >= 8, "each library that is needed would be missed"


@pytest.mark.registry
def test_a_package_from_its_build_to_its_removal(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str], tmp_path: Path
) -> None:
    """Built, found, compared, not overwritten, pulled by a machine that has nothing, run, asked, removed."""
    mbuild = replace(mbuild, environ=registry_environ)
    first = registry.fresh("digits", "1.0.0")
    second = replace(first, tag="1.1.0")
    built = mbuild.json(digits, "-t", str(first), "--push", "--no-load")
    digest, pinned = built["image"]["digest"], built["image"]["reference"]
    assert pinned == f"{registry.name}/{first.repository}@{digest}"
    manifest = (digits / "model.yaml").read_text().replace("1.0.0", "1.1.0").replace("Apache-2.0", "MIT")
    (digits / "model.yaml").write_text(manifest)
    newer = mbuild.json(digits, "-t", str(second), "--push", "--no-load", "--no-test", "-o", tmp_path / "newer")

    listed = mbuild.json("ls", f"{registry.name}/{first.repository}")["packages"]
    assert [(one["version"], one["digest"]) for one in listed] == [
        ("1.0.0", digest),
        ("1.1.0", newer["image"]["digest"]),
    ]
    package = mbuild.json("inspect", pinned)
    jsonschema.validate(package["face"], json.loads(schema_file("face").read_bytes()))
    assert package["face"]["models"][0]["signature"]["inputs"][0]["name"] == "image"
    assert package["face"]["packages"]["libc6"]
    assert package["measured"]["ready_seconds"] == built["test"]["ready_seconds"]
    found = mbuild.json("diff", str(first), str(second))
    assert {one["field"] for one in found["said"]} - {"lock.digest"} == {"version", "licence", "models.digits.version"}
    assert 0 < found["to_fetch"] < MEGABYTE, "the layers of base, runtime and server are those that are there"
    refused = mbuild("push", tmp_path / "newer", str(first))
    assert refused.returncode == 10
    assert "version-taken" in refused.stderr
    assert digest in refused.stderr

    elsewhere = replace(mbuild, cache=tmp_path / "empty")
    pulled = elsewhere.json("pull", str(first), "-o", tmp_path / "pulled")
    assert (pulled["reference"], pulled["reused"]) == (pinned, 0)
    assert elsewhere.json("inspect", tmp_path / "pulled")["measured"] == package["measured"]
    running = elsewhere.json("run", tmp_path / "pulled", "--detach", "--engine", "embedded", "--port", "0")
    try:
        for binary in (False, True):
            ask(running["url"].removeprefix("http://"), min((digits / "golden").glob("*.npz")), binary=binary)
    finally:
        stopped = elsewhere("stop", running["name"])
    assert stopped.returncode == 0, stopped.stderr

    removed = mbuild.json("rm", str(first), "--yes")
    assert [one["digest"] for one in removed["images"]] == [digest]
    assert [one["artifact_type"] for one in removed["attached"]] == [REPORT_TYPE]
    assert [one["version"] for one in mbuild.json("ls", f"{registry.name}/{first.repository}")["packages"]] == ["1.1.0"]


@pytest.mark.docker
@pytest.mark.registry
def test_what_an_engine_built_is_pulled_and_asked(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str], docker_engine: Any
) -> None:
    reference = registry.fresh("digits")
    result = mbuild.json(digits, "-t", str(reference), "--push", "--engine", "docker", **registry_environ)
    pinned = result["image"]["reference"]
    docker_engine.images.remove(str(reference), force=True)
    auth = {"username": registry.user, "password": registry.password}
    repository, _, digest = pinned.partition("@")
    pulled = docker_engine.images.pull(repository, tag=digest, auth_config=auth)
    assert pulled.id == result["image"]["id"]
    with served(pinned) as address:
        ask(address, min((digits / "golden").glob("*.npz")), binary=True)
    assert "outputs probabilities FP32 [batch, 10]" in mbuild("inspect", result["files"]["layout"]).stdout


@pytest.mark.docker
def test_an_image_of_the_engine_can_be_tested(mbuild: Mbuild, digits: Path, docker_engine: Any) -> None:
    result = mbuild.json(digits, "--load")
    report = mbuild.json("test", result["image"]["loaded_as"])
    assert report["runner"] == "docker"
    cases = [case["case"] for case in result["test"]["cases"]]
    assert [case["case"] for case in report["cases"]] == cases
    confined = {"read_only": True, "network_mode": "none", "user": "4242:4242", "cap_drop": ["ALL"], "remove": True}
    answer = docker_engine.containers.run(result["image"]["loaded_as"], ["selftest", "--json"], **confined)
    found = json.loads(answer)
    assert found["passed"] and [case["case"] for case in found["cases"]] == cases
    assert found["cases"][0]["outputs"][0]["allowed"]["absolute"] > 0


def test_where_the_bytes_went(mbuild: Mbuild, digits: Path, tmp_path: Path) -> None:
    """The same of the model as of its image; and a gate on the size, which names what is large."""
    built = mbuild.json(digits, "-o", tmp_path / "out", "--no-test", "--no-load")
    found = mbuild.json("explain", tmp_path / "out")
    assert found == mbuild.json("explain", digits)
    assert (found["digest"], found["size"]) == (built["image"]["digest"], sum(one["size"] for one in built["layers"]))
    assert [one["role"] for one in found["layers"]] == [one["role"] for one in built["layers"]]
    parts = {part["name"]: part for layer in found["layers"] for part in layer["parts"]}
    assert parts["numpy"]["why"] == "needed by onnxruntime"
    assert parts["digits"]["kind"] == "model"
    strays = sum(part["size"] for part in parts.values() if part["kind"] == "other")
    assert strays < 0.02 * found["unpacked_size"], "nearly all of it is somebody's"
    refused = mbuild(digits, "--no-test", "--no-load", "--max-size", "9MB")
    assert refused.returncode == 8
    assert "image-too-large" in refused.stderr
    assert "onnxruntime" in refused.stderr


def test_the_second_build_does_nothing_again(mbuild: Mbuild, digits: Path) -> None:
    first = mbuild.json(digits)
    second = mbuild.json(digits, "--locked")
    assert second["image"] == first["image"]
    assert all(step["cached"] for step in second["steps"] if step["name"] != "load"), second["steps"]
    assert second["test"] == {**first["test"], "remembered": True}
    assert f"at {first['test']['at']}, this image on this machine" in mbuild(digits).stdout

    third = mbuild.json(digits, "--test-again")
    assert not third["test"]["remembered"]
    assert third["test"]["start"] != first["test"]["start"]
    assert [step["name"] for step in third["steps"] if not step["cached"] and step["name"] != "load"] == ["test"]


def test_plan_and_render_show_the_same_image(mbuild: Mbuild, digits: Path, tmp_path: Path) -> None:
    plan = mbuild.json("plan", digits)
    assert [layer["role"] for layer in plan["layers"]] == ["base", "runtime", "server", "model"]
    paths = {entry["path"] for layer in plan["layers"] for entry in layer["entries"]}
    assert "/models/digits/1/model.onnx" in paths
    done = mbuild("render", digits, "-o", tmp_path / "context")
    assert done.returncode == 0, done.stderr
    written = {f"/{p.relative_to(tmp_path / 'context' / 'model')}" for p in (tmp_path / "context/model").rglob("*")}
    assert written <= paths | {"/models"}
    assert "FROM scratch" in (tmp_path / "context" / "Dockerfile").read_text()


@pytest.mark.docker
def test_a_rendered_context_is_built_by_docker_alone(
    mbuild: Mbuild, digits: Path, tmp_path: Path, docker_engine: Any
) -> None:
    assert mbuild("render", digits, "-o", tmp_path / "context").returncode == 0
    image, _ = docker_engine.images.build(path=str(tmp_path / "context"), tag="mbuild-test-rendered:1", rm=True)
    try:
        with served(image.id) as address:
            ask(address, next(iter(sorted((digits / "golden").glob("*.npz")))), binary=True)
    finally:
        docker_engine.images.remove("mbuild-test-rendered:1", force=True)


def test_an_upstream_base(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    """--base takes an image from a registry; our own base, pushed, stands for one that others made."""
    base = registry.fresh("base-cpu")
    assert mbuild("base", "push", "cpu", str(base), **registry_environ).returncode == 0
    result = mbuild.json(digits, "--base", str(base), "--lock", digits.parent / "other.lock", **registry_environ)
    assert [layer["role"] for layer in result["layers"]] == ["base", "runtime", "server", "model"]
    assert result["test"]["exit_code"] == 0
    tested = mbuild.json("test", result["files"]["layout"], **registry_environ)
    assert len(tested["cases"]) == len(result["test"]["cases"])
    own = {layer["role"]: layer["digest"] for layer in mbuild.json(digits, "--no-test", "--no-load")["layers"]}
    assert all(layer["digest"] == own[layer["role"]] for layer in result["layers"])  # bytecode and all


@pytest.mark.docker
@pytest.mark.registry
def test_an_engine_builds_on_a_private_base(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str], docker_engine: Any
) -> None:
    base = registry.fresh("private-base")
    assert mbuild("base", "push", "cpu", str(base), **registry_environ).returncode == 0
    words = (digits, "--base", str(base), "--lock", digits.parent / "other.lock", "--engine", "docker")
    result = mbuild.json(*words, **registry_environ)
    assert result["test"]["runner"] == "docker"
    assert result["layers"][0]["role"] == "base"


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir()))
def test_every_example_builds_and_is_served(mbuild: Mbuild, tmp_path: Path, example: str) -> None:
    directory = tmp_path / example
    shutil.copytree(ROOT / "examples" / example, directory)
    fetch = directory / "fetch.py"
    if fetch.exists():
        subprocess.run([sys.executable, str(fetch)], check=True, timeout=300)
    result = mbuild.json(directory, "--no-load")
    assert result["test"]["runner"] == "embedded"
    assert result["test"]["exit_code"] == 0
