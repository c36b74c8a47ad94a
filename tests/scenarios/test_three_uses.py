"""One copy of the weights, three uses: the image, a ModelPack, and a server that serves what a volume holds."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import requests

from builder.model.golden import read_case
from builder.resources import schema_file
from tests.scenarios.conftest import Mbuild
from tests.support.registries import SecuredRegistry
from tests.support.waiting import until_ready

KILOBYTE = 1_000


@pytest.fixture(scope="module")
def auth(registry: SecuredRegistry) -> dict[str, str]:
    return {"username": registry.user, "password": registry.password}


@contextmanager
def served(engine: Any, image: str, **settings: Any) -> Iterator[str]:
    """The image in a container of the Docker engine, as Kubernetes would run it; its address."""
    container = engine.containers.run(
        image,
        detach=True,
        read_only=True,
        tmpfs={"/tmp": ""},
        cap_drop=["ALL"],
        ports={"8000/tcp": ("127.0.0.1", None)},
        **settings,
    )
    try:
        container.reload()
        address = f"127.0.0.1:{container.ports['8000/tcp'][0]['HostPort']}"
        until_ready(address)
        yield address
    finally:
        container.remove(force=True)


def answer(address: str, case_file: Path) -> list[dict[str, Any]]:
    (inputs,) = [
        [{"name": name, "shape": array.shape, "datatype": "FP32", "data": array.ravel().tolist()}]
        for name, array in read_case(case_file).inputs.items()
    ]
    reply = requests.post(f"http://{address}/v2/models/digits/infer", json={"inputs": inputs}, timeout=30)
    assert reply.status_code == 200, reply.text
    return list(reply.json()["outputs"])


def unpacked(engine: Any, image: str, directory: Path) -> Path:
    """What a runtime would mount: the files of an image that nothing runs, as the engine stacks them."""
    container = engine.containers.create(image, command="nothing")
    try:
        chunks, _ = container.get_archive("/models")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            archive.extractall(directory, filter="data")
    finally:
        container.remove(force=True)
    return directory / "models"


@pytest.mark.docker
@pytest.mark.registry
def test_the_same_layers_are_run_packed_and_mounted(
    mbuild: Mbuild,
    digits: Path,
    registry: SecuredRegistry,
    registry_environ: dict[str, str],
    docker_engine: Any,
    auth: dict[str, str],
    tmp_path: Path,
) -> None:
    reference = registry.fresh("digits", "1.0.0")
    words = (digits, "-t", str(reference), "--push", "--modelpack", "--weights-image", "--no-load", "--no-test")
    result = mbuild.json(*words, **registry_environ)
    jsonschema.validate(result, json.loads(schema_file("result").read_bytes()))
    attached = {one["name"]: one for one in result["push"]["attached"]}
    assert list(attached) == ["modelpack", "weights", "server"]
    assert sum(one["uploaded"] for one in attached.values()) < 100 * KILOBYTE
    (model,) = (layer["digest"] for layer in result["layers"] if layer["role"] == "model")

    packed = mbuild.json("inspect", attached["modelpack"]["reference"], **registry_environ)
    assert [layer["digest"] for layer in packed["layers"]] == [model]
    assert packed["subject"] == result["image"]["digest"]
    weights = mbuild.json("inspect", attached["weights"]["reference"], **registry_environ)
    assert [layer["digest"] for layer in weights["layers"]] == [model]
    told = mbuild("inspect", result["image"]["reference"], **registry_environ).stdout
    assert {line.split()[1] for line in told.splitlines() if line.startswith("with")} == {*attached, "report"}
    assert "belongs at /models" in mbuild("inspect", attached["server"]["reference"], **registry_environ).stdout

    images = {
        "whole": result["image"]["reference"],
        **{name: attached[name]["reference"] for name in ("server", "weights")},
    }
    for pinned in images.values():
        repository, _, digest = pinned.partition("@")
        docker_engine.images.pull(repository, tag=digest, auth_config=auth)
    volume = unpacked(docker_engine, images["weights"], tmp_path)
    cases = sorted((digits / "golden").glob("*.npz"))
    with served(docker_engine, images["whole"]) as address:
        expected = [answer(address, case) for case in cases]
    with served(docker_engine, images["server"], volumes={str(volume): {"bind": "/models", "mode": "ro"}}) as address:
        assert [answer(address, case) for case in cases] == expected
    for case, outputs in zip(cases, expected, strict=True):
        (wanted,) = read_case(case).outputs.values()
        np.testing.assert_allclose(np.reshape(outputs[0]["data"], wanted.shape), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.registry
def test_what_is_packed_is_a_model_directory_again(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str], tmp_path: Path
) -> None:
    """From a layout, and built once more of what comes back."""
    first = mbuild.json(digits, "-o", tmp_path / "layout", "--no-load", "--no-test")
    reference = registry.fresh("digits", "1.0.0")
    pushed = mbuild.json("push", tmp_path / "layout", str(reference), "--modelpack", **registry_environ)
    (packed,) = pushed["attached"]
    mbuild.json("pull", packed["reference"], "--model-only", "-o", tmp_path / "pulled", **registry_environ)
    model = tmp_path / "pulled" / "models" / "digits"
    again = mbuild.json(model, "--no-load", "--no-test")
    assert [one["digest"] for one in again["layers"][:3]] == [one["digest"] for one in first["layers"][:3]]
    described = json.loads((model / "mbuild.json").read_bytes())
    assert (described["name"], described["version"]) == ("digits", "1.0.0")
