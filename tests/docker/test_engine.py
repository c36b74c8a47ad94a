"""The door to the engine, with a real one: an image is loaded, run as production would run it, and stopped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.assemble.embedded import EmbeddedAssembler
from builder.assemble.image import AssembledImage
from builder.assemble.load import load_into
from builder.host.container import ContainerSpec
from builder.host.docker import DockerEngine, connect
from builder.host.docker_calls import EngineFailed
from builder.host.docker_containers import Container
from builder.host.trees import TreeWriter, merged
from builder.oci.digest import Digest
from builder.oci.docker_archive import read_archive
from builder.oci.reference import Reference
from tests.support.hosts import real_host
from tests.support.images import small_plan

pytestmark = pytest.mark.docker
TAG = Reference.parse("mbuild-tests/engine:1")


@pytest.fixture(scope="module")
def engine(docker_engine: Any) -> DockerEngine:
    return DockerEngine(docker_engine)


@pytest.fixture(scope="module")
def image(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AssembledImage]:
    directory = tmp_path_factory.mktemp("engine")
    plan, tree = small_plan(directory / "tree")
    built = EmbeddedAssembler(real_host(directory / "store")).assemble(plan, tree, directory / "layout")
    load_into(engine, built, [TAG])
    yield built
    engine.remove_image(str(built.config.digest))


def started(engine: DockerEngine, **settings: Any) -> Container:
    return engine.start(ContainerSpec(image=TAG.familiar, port=8000, **settings))


def ended(container: Container) -> int | None:
    deadline = time.monotonic() + 20
    while container.state().running and time.monotonic() < deadline:
        time.sleep(0.05)
    return container.state().exit_code


def test_an_image_is_loaded_once_and_keeps_its_digest(engine: DockerEngine, image: AssembledImage) -> None:
    loads: list[object] = []

    class Watched(DockerEngine):
        def load(self, chunks: Iterator[bytes]) -> tuple[str, ...]:
            loads.append(chunks)
            return super().load(chunks)

    other = Reference.parse("mbuild-tests/engine:2")
    loaded = load_into(Watched(engine._client), image, [other])

    assert loads == []
    assert loaded == engine.image_id(other.familiar) == str(image.config.digest)
    assert engine.has_image(image.config.digest)
    assert not engine.has_image(Digest.of(b"another"))


def test_only_the_layers_that_the_engine_lacks_travel(engine: DockerEngine, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    label = ("dev.mbuild.model.digest", "sha256:0")
    plan = replace(plan, config=replace(plan.config, labels=(label,)))
    big = TreeWriter(tmp_path / "big")
    big.add_file("/big", os.urandom(1 << 20))
    whole = merged([tree, big.finish()])
    base = replace(plan.layers[0], entries=(*plan.layers[0].entries, *big.entries.values()))
    model = plan.layers[-1]
    plans = [
        replace(plan, layers=(base, model)),
        replace(plan, layers=(base, replace(model, entries=model.entries[:-1]))),
    ]
    host, travelled = real_host(tmp_path / "store"), []

    class Watched(DockerEngine):
        def load(self, chunks: Iterator[bytes]) -> tuple[str, ...]:
            kept = list(chunks)
            travelled.append(sum(map(len, kept)))
            return super().load(iter(kept))

    assembler = EmbeddedAssembler(host)
    images = [assembler.assemble(each, whole, tmp_path / f"layout-{n}") for n, each in enumerate(plans)]
    try:
        loaded = [load_into(Watched(engine._client), image, []) for image in images]
        saved = read_archive(engine.save(loaded[1]), tmp_path)
    finally:
        for image in images:
            engine.remove_image(str(image.config.digest))

    assert [Digest.of(path.read_bytes()) for path in saved.layers] == list(images[1].config.diff_ids)
    assert len(travelled) == 2
    assert travelled[1] < travelled[0] - (1 << 20)


def test_a_name_without_a_tag_is_the_latest(engine: DockerEngine, image: AssembledImage, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    other = replace(plan, created="2026-02-02T02:02:02Z")
    built = EmbeddedAssembler(real_host(tmp_path / "store")).assemble(other, tree, tmp_path / "layout")

    load_into(engine, built, [Reference.parse("mbuild-tests/untagged")])

    assert engine.image_id("mbuild-tests/untagged:latest") == str(built.config.digest)
    engine.remove_image(str(built.config.digest))


def test_a_saved_image_has_the_layers_that_were_loaded(
    engine: DockerEngine, image: AssembledImage, tmp_path: Path
) -> None:
    saved = read_archive(engine.save(TAG.familiar), tmp_path)

    assert saved.config == image.config.raw
    assert [Digest.of(path.read_bytes()) for path in saved.layers] == list(image.config.diff_ids)


def test_the_program_of_the_image_runs(engine: DockerEngine, image: AssembledImage) -> None:
    container = started(engine)
    try:
        assert ended(container) == 0
        assert container.logs() == "hello from the image\n"
    finally:
        container.remove()


def test_it_runs_as_production_would(engine: DockerEngine, image: AssembledImage) -> None:
    container = started(engine, memory_bytes=64 << 20)
    try:
        about = engine._api.inspect_container(container.id)
        settings = about["HostConfig"]
        assert settings["ReadonlyRootfs"] is True
        assert settings["CapDrop"] == ["ALL"]
        assert "no-new-privileges" in settings["SecurityOpt"]
        assert (settings["Memory"], settings["MemorySwap"]) == (64 << 20, 64 << 20)
        assert about["Config"]["User"] == "10001:10001"
        for name in about["NetworkSettings"]["Networks"]:
            network = engine._api.inspect_network(name)
            masquerade = network["Options"].get("com.docker.network.bridge.enable_ip_masquerade")
            assert network["Internal"] or masquerade == "false"
    finally:
        container.remove()


def wait_image(engine: DockerEngine, image: AssembledImage, directory: Path) -> str:
    """The same image whose entrypoint waits for ever."""
    directory.mkdir()
    (directory / "Dockerfile").write_text(f'FROM {TAG.familiar}\nENTRYPOINT ["/usr/bin/wait"]\n')
    return engine.build(directory)


def test_memory_logs_and_stop(engine: DockerEngine, image: AssembledImage, tmp_path: Path) -> None:
    waiting = wait_image(engine, image, tmp_path / "context")
    container = engine.start(ContainerSpec(image=waiting, port=8000))
    try:
        deadline = time.monotonic() + 20
        while not container.logs() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert container.logs(tail=1) == "waiting\n"
        assert container.state().running
        assert container.state().exit_code is None
        assert 0 < (container.peak_memory_bytes() or 0) < 64 << 20
        assert (
            container.stop(grace_seconds=1) == 137
        )  # the first process of a container ignores what it does not handle
        assert not container.state().running
    finally:
        container.remove()
        container.remove()
        engine.remove_image(waiting)


def test_two_containers_start_at_once(engine: DockerEngine, image: AssembledImage) -> None:
    containers: list[Container] = []
    threads = [threading.Thread(target=lambda: containers.append(started(engine))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert [ended(container) for container in containers] == [0, 0]
    finally:
        for container in containers:
            container.remove()


def test_what_cannot_start_says_why_and_leaves_nothing(engine: DockerEngine, image: AssembledImage) -> None:
    before = len(engine._api.containers(all=True))

    with pytest.raises(EngineFailed, match="unable to find user nobody-here"):
        started(engine, user="nobody-here")

    assert len(engine._api.containers(all=True)) == before


def test_rubbish_is_not_loaded(engine: DockerEngine) -> None:
    with pytest.raises(EngineFailed, match="could not load an image"):
        engine.load(iter([b"rubbish" * 1000]))


def test_no_engine_is_none_at_once() -> None:
    began = time.monotonic()

    assert connect({"DOCKER_HOST": "unix:///nonexistent/docker.sock"}) is None
    assert connect({"DOCKER_HOST": "tcp://127.0.0.1:1"}) is None
    assert connect({"DOCKER_HOST": "nonsense"}) is None

    assert time.monotonic() - began < 5


def test_the_engine_of_the_current_context_is_found(
    engine: DockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = os.environ["DOCKER_HOST"]
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "elsewhere"}))
    meta = tmp_path / "contexts" / "meta" / hashlib.sha256(b"elsewhere").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": address, "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "elsewhere", "Metadata": {}, "Endpoints": {"docker": endpoint}}))

    found = connect()

    assert found is not None
    assert found.version == engine.version


def test_where_nothing_names_an_engine_and_none_listens_the_sdk_is_not_loaded() -> None:
    code = "import sys, builder.host.docker as door; door._DEFAULT_SOCKET = door.Path('/nowhere'); "
    code += "print(door.connect({'DOCKER_CONFIG': '/nowhere'}), 'docker' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["None", "False"]
