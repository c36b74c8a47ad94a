"""Both runners hold the same terms; what they promise is looked at from inside the container."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from builder.assemble.image import AssembledImage, AssembledLayer
from builder.assemble.load import load_into
from builder.host import Host
from builder.host.container import Mount, PortUnavailable, Published
from builder.host.docker import DockerEngine, require
from builder.plan.image import LayerRole
from builder.probe.docker import DockerRunner, NotLoaded
from builder.probe.embedded import EmbeddedRunner
from builder.probe.replay import ExitedEarly, wait_until_ready
from builder.probe.runner import ImageRunner, Limits, ProbedImage, RunningImage, Unstartable
from tests.support.containers import PYTHON, python_image

pytestmark = pytest.mark.network

MEBIBYTE = 1 << 20
LIMITS = Limits(memory_bytes=128 * MEBIBYTE, tmp_bytes=2 * MEBIBYTE, pids=64)

Prepared = tuple[ImageRunner, Callable[[ProbedImage], ProbedImage]]


@pytest.fixture(params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def prepared(request: pytest.FixtureRequest, host: Host) -> Prepared:
    """A runner, and what makes an image ready for it."""
    if request.param == "embedded":
        return EmbeddedRunner(host), lambda image: image
    request.getfixturevalue("docker_engine")
    engine = require(os.environ)
    return DockerRunner(host, engine), lambda image: replace(image, engine_name=loaded(engine, image))


def loaded(engine: DockerEngine, image: ProbedImage) -> str:
    layers = tuple(
        AssembledLayer(descriptor=descriptor, diff_id=diff_id, role=LayerRole.MODEL)
        for descriptor, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=True)
    )
    assembled = AssembledImage(path=image.layout.path, manifest=image.manifest, config=image.config, layers=layers)
    return load_into(engine, assembled, [])


@contextmanager
def started(prepared: Prepared, image: ProbedImage, limits: Limits = LIMITS) -> Iterator[RunningImage]:
    runner, make_ready = prepared
    with closing(runner.start(make_ready(image), limits)) as running:
        yield running


def wait_for(condition: Callable[[], Any], host: Host, seconds: float = 20) -> Any:
    deadline = host.clock.monotonic() + seconds
    while host.clock.monotonic() < deadline:
        if found := condition():
            return found
        host.clock.sleep(0.02)
    raise AssertionError("it did not come true in time")


def said(running: RunningImage, host: Host) -> dict[str, Any]:
    wait_for(lambda: running.log().startswith("{") or not running.state().running, host)
    return dict(json.loads(running.log()))


def ask(address: tuple[str, int], word: bytes) -> bytes:
    with socket.create_connection(address, timeout=10) as connection:
        connection.sendall(word)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def test_the_container_is_as_production_would_run_it(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "looks_around", env={"GREETING": "a b"})) as running:
        seen = said(running, host)
        assert seen["pid"] == 1
        assert seen["processes"] == ["1"]
        assert seen["ids"] == [10001, 10001]
        assert seen["capabilities"] == ["0000000000000000"] * 5
        assert seen["no_new_privileges"] == "1"
        assert seen["descriptors"] == []
        assert seen["env"]["GREETING"] == "a b"
        assert "PYTHONPATH" not in seen["env"]
        assert (seen["cwd"], seen["env"]["HOME"]) == ("/", "/tmp")


def test_only_the_tmpfs_can_be_written(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "looks_around")) as running:
        seen = said(running, host)
        read_only = os.strerror(errno.EROFS)
        assert (seen["write root"], seen["write models"]) == (read_only, read_only)
        assert seen["write dev"] in (read_only, os.strerror(errno.EACCES))
        assert seen["chmod"] in (read_only, os.strerror(errno.EPERM))
        assert seen["fill tmp"] == [os.strerror(errno.ENOSPC), LIMITS.tmp_bytes]
        assert (seen["null"], seen["shm"], seen["random"]) == (1, 1, 9)
        assert seen["chroot"] == os.strerror(errno.EPERM)


def test_nothing_outside_is_reached_and_what_tried_is_counted(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "looks_around")) as running:
        seen = said(running, host)
        assert seen["outside"] != "done"
        assert running.outbound_attempts() == 2


def test_the_port_is_published_and_carries_much(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "looks_around")) as running:
        said(running, host)
        for word in (b"first ", b"second "):
            assert wait_for(lambda word=word: ask(running.address, word), host) == word * 100_000
        peak = running.peak_memory()
        assert peak is not None and MEBIBYTE < peak < LIMITS.memory_bytes


def test_sigterm_reaches_the_server(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "looks_around")) as running:
        said(running, host)
        wait_for(lambda: ask(running.address, b"x"), host)
        assert running.state().running
        assert running.stop(10) == 7
        assert (running.state().running, running.state().exit_code) == (False, 7)
        assert running.log().startswith("{")


def test_all_who_ask_at_once_hear_of_its_end(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "looks_around")) as running:
        said(running, host)

        def ask_until_it_ends(_: int) -> int | None:
            while running.state().running:
                pass
            return running.state().exit_code

        with ThreadPoolExecutor(4) as askers:
            ends = askers.map(ask_until_it_ends, range(4))
            running.kill()
            assert list(ends) == [137] * 4


def test_a_server_that_is_deaf_is_killed_after_the_grace(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "fake_server", env={"MISBEHAVIOUR": "deaf"})) as running:
        wait_for(lambda: "starting" in running.log(), host)
        begun = host.clock.monotonic()
        assert running.stop(1) == 137
        assert 0.9 < host.clock.monotonic() - begun < 8
        assert "starting" in running.log()


def test_the_memory_limit_kills_and_is_reported(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    with started(prepared, python_image(host, tmp_path, "fake_server", env={"MISBEHAVIOUR": "hungry"})) as running:
        wait_for(lambda: not running.state().running, host, seconds=60)
        state = running.state()
        if running.memory_limit == "rlimit":
            assert (state.exit_code, "MemoryError" in running.log()) == (1, True)
        else:
            assert (state.exit_code, state.out_of_memory) == (137, True)


def test_a_server_for_use_has_its_own_port_and_what_was_mounted(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "word").write_text("hello")
    mounts = (Mount(source=tmp_path / "folder", place=PurePosixPath("/mounted/in")),)
    for parent in (tmp_path, *tmp_path.parents):
        readable = parent.stat().st_mode & 0o005 == 0o005
        if not readable and parent.owner() == "root" and os.geteuid() == 0:
            parent.chmod(0o755)  # pytest's own are closed to others
    limits = Limits(memory_bytes=None, mounts=mounts, published=Published(), cpus=1)
    image = python_image(host, tmp_path, "looks_around")
    with started(prepared, image, limits) as running:
        seen = said(running, host)
        read_only = os.strerror(errno.EROFS)
        refused = [seen["mounted"], seen["write mounted"], seen["write beside mounted"]]
        assert refused == ["hello", read_only, read_only]
        assert seen["outside"] != "done"
        if prepared[0].name == "embedded":
            assert seen["may run on"] == 1
        host_name, port = running.address
        assert host_name == "127.0.0.1"
        with started(prepared, image, replace(limits, published=Published(port=port, is_wish=True))) as another:
            assert another.address[1] != port
        taken = replace(limits, published=Published(port=port))
        with pytest.raises(PortUnavailable, match=str(port)), started(prepared, image, taken):
            pass
        assert wait_for(lambda: ask(running.address, b"x"), host) == b"x" * 100_000
        running.terminate()
        wait_for(lambda: not running.state().running, host)
        assert running.state().exit_code == 7
        assert b"".join(running.follow()).startswith(b'{"pid": 1')


def test_an_image_without_its_command_cannot_start(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    image = python_image(host, tmp_path, "looks_around", entrypoint=("/usr/bin/nothing",))
    with pytest.raises(Unstartable, match="/usr/bin/nothing") as raised, started(prepared, image):
        pass
    assert raised.value.exit_code == 9


def test_a_server_that_ends_at_once_is_a_failure_at_once(prepared: Prepared, host: Host, tmp_path: Path) -> None:
    image = python_image(host, tmp_path, "looks_around", entrypoint=(PYTHON, "-c", "print('no'); exit(5)"))
    with started(prepared, image) as running, pytest.raises(ExitedEarly, match=r"exit code 5\).*\nno"):
        wait_until_ready(running, LIMITS, host.clock)


def test_an_image_that_is_not_loaded_cannot_be_started_by_docker(
    docker_engine: object, host: Host, tmp_path: Path
) -> None:
    image = python_image(host, tmp_path, "looks_around", env={"ONLY": "here"})
    with pytest.raises(NotLoaded):
        DockerRunner(host, require(os.environ)).start(image, LIMITS)
