"""`mbuild run`: an image started to be used, ready, and how to ask it.

What holds in a test holds here: a read-only root, the image's own user, no capability, no new privilege, and no way out
to a network unless one is asked for. What a test bounds so that images stay small (2 GiB of memory, 64 MiB of /tmp) is
bounded here only where somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

from builder.errors import ProbeError, UsageError
from builder.events import Warned
from builder.host import Host
from builder.host.container import ALL_GPUS, Published
from builder.host.docker import DockerEngine, connect, require
from builder.oci.platform import Platform
from builder.pipeline.checks import check_cache
from builder.pipeline.prove import foreign, is_native
from builder.pipeline.running.asking import ModelPrograms, access_to, programs_for, scheme_of
from builder.pipeline.running.found import FoundImage, find_built, find_existing
from builder.pipeline.steps import Steps
from builder.plan.spec import BuildSpec, Engine
from builder.probe.docker import DockerRunner
from builder.probe.embedded import EmbeddedRunner, NoWayOut
from builder.probe.emulator import Emulator, find_emulator
from builder.probe.replay import wait_until_ready
from builder.probe.runner import Limits, RunningImage
from builder.probe.services import (
    DIGEST,
    IMAGE,
    NAME,
    OWNER,
    PLACE,
    SCHEME,
    SINCE,
    find_services,
    owner,
    sweep_services,
)

USUAL_PORT = 8000
FOR_USE = Limits(memory_bytes=None, pids=4096, tmp_bytes=1 << 30, ready_seconds=1800.0)
"""What a server gets that is started to be used. Memory: all there is. Time to be ready: large models take minutes, and
who waits sees it and can end it."""

_AFTER_GRACE_SECONDS, _USUAL_GRACE_SECONDS = 5.0, 25.0


class NoGpuHere(ProbeError):
    code = "no-gpu-here"
    message = "--gpus {asked} was given, and the {engine} runner has no GPU to give"
    hint = "`nvidia-smi` shows the GPUs of this machine; a Docker engine needs NVIDIA's container toolkit, too"


class NameTaken(UsageError):
    code = "name-taken"
    message = "a server of the name {name} is there already"
    hint = "`mbuild stop {name}` ends it; or choose another name"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSpec:
    """``image`` is what was named; of a model directory ``build`` says how its image is built, and ``test`` whether
    that is tested. ``engine`` None: Docker if there is one. ``port`` None: 8000, or a free one where that is taken; 0:
    a free one. ``gpus`` None: all that there are, for an image that wants one. ``name`` empty: the image's own."""

    image: str
    platform: Platform
    build: BuildSpec | None = None
    test: bool = True
    engine: Engine | None = None
    host: str = "127.0.0.1"
    port: int | None = None
    gpus: int | None = None
    name: str = ""
    is_detached: bool = False
    limits: Limits = FOR_USE


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningService:
    """A server that is ready. ``limits`` are those that it got."""

    running: RunningImage
    limits: Limits
    name: str
    image: str
    engine: str
    digest: str
    url: str
    ready_seconds: float
    models: tuple[ModelPrograms, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "id": self.running.id,
            "image": self.image,
            "digest": self.digest,
            "engine": self.engine,
            "url": self.url,
            "ready_seconds": round(self.ready_seconds, 3),
            "curl": self.models[0].curl if self.models else None,
            "models": [model.to_json() for model in self.models],
        }


@contextmanager
def run_image(spec: RunSpec, host: Host) -> Iterator[RunningService]:
    """Start it, wait until it is ready, and end it with the block, unless it was released.

    Raises what a build or a registry does, NameTaken, NoGpuHere, ForeignPlatform, PortUnavailable, ExitedEarly,
    NeverReady, ToolMissing.
    """
    check_cache(host)
    engine = _engine(spec, host)
    sweep_services(engine, host)
    launch = _Launch(spec, engine, host)
    with ExitStack() as stack:
        with ExitStack() as layouts:  # of an image that an engine had; once it is started nothing of it is read
            if spec.build:
                found = find_built(spec.build, engine, host, test=spec.test)
            else:
                found = find_existing(spec.image, spec.platform, engine, host, layouts)
            with Steps(host).effect("start") as note:
                limits = launch.limits(found)
                running = stack.enter_context(closing(launch.start(found, limits)))
                seconds = wait_until_ready(running, limits, host.clock)
                note.detail = f"ready in {seconds:.2f} s"
        yield launch.service(found, limits, running, seconds)


def _engine(spec: RunSpec, host: Host) -> DockerEngine | None:
    """The engine that is to run it, if one is. An image for another processor needs our emulator."""
    if spec.engine is Engine.DOCKER:
        return require(host.environ)
    return connect(host.environ) if spec.engine is None and is_native(spec.platform) else None


class _Launch:
    """What starts an image; what cannot be is refused before there is one."""

    def __init__(self, spec: RunSpec, engine: DockerEngine | None, host: Host) -> None:
        self._spec, self._engine, self._host = spec, engine, host
        self._embedded = EmbeddedRunner(host, self._emulator(), place=PLACE)
        self._has_gpu = engine.has_gpu if engine else self._embedded.has_gpu
        self._runner = "docker" if engine else self._embedded.name
        if spec.gpus and not self._has_gpu:
            raise NoGpuHere(asked="all" if spec.gpus == ALL_GPUS else spec.gpus, engine=self._runner)
        if spec.limits.is_connected and not engine:
            raise NoWayOut
        if spec.name and spec.name in self._taken():
            raise NameTaken(name=spec.name)

    def start(self, found: FoundImage, limits: Limits) -> RunningImage:
        running = self._start(found, limits)
        if self._spec.port is None and running.address[1] != USUAL_PORT:
            message = f"port {USUAL_PORT} is in use, so it is {running.address[1]} this time"
            self._host.events.emit(Warned(message=message, hint="--port names another one"))
        return running

    def _start(self, found: FoundImage, limits: Limits) -> RunningImage:
        if self._engine:
            return DockerRunner(self._host, self._engine).start_named(found.in_engine, found.platform, limits)
        assert found.unpacked is not None
        return self._embedded.start(found.unpacked, limits)

    def service(self, found: FoundImage, limits: Limits, running: RunningImage, ready_seconds: float) -> RunningService:
        access = access_to(running.address, limits)
        return RunningService(
            running=running,
            limits=limits,
            name=dict(limits.labels)[NAME],
            image=self._spec.image,
            engine=self._runner,
            digest=found.digest,
            url=access.url,
            ready_seconds=ready_seconds,
            models=programs_for(found.face, access, limits, self._host),
        )

    def limits(self, found: FoundImage) -> Limits:
        """Those that were asked for, and those of this image."""
        given, env = self._spec.limits, dict(self._spec.limits.env)
        ports = (_whole(env.get("MBUILD_PORT")), *found.ports, USUAL_PORT)
        wish, port = self._spec.port is None, self._spec.port or 0
        wants_gpu = found.face is not None and found.face.gpu is not None and self._has_gpu
        return replace(
            given,
            port=next(filter(None, ports)),
            published=Published(host=self._spec.host, port=USUAL_PORT if wish else port, is_wish=wish),
            gpus=(ALL_GPUS if wants_gpu else 0) if self._spec.gpus is None else self._spec.gpus,
            grace_seconds=_seconds(env.get("MBUILD_GRACE_SECONDS")) + _AFTER_GRACE_SECONDS,
            labels=tuple(self._labels(found).items()),
        )

    def _labels(self, found: FoundImage) -> dict[str, str]:
        taken, usual = self._taken(), found.face.name if found.face else "server"
        labels = {
            NAME: self._spec.name or next(name for name in _numbered(usual) if name not in taken),
            IMAGE: self._spec.image,
            DIGEST: found.digest,
            SINCE: str(int(self._host.clock.now())),
            SCHEME: scheme_of(dict(self._spec.limits.env)),
        }
        return labels if self._spec.is_detached else {**labels, OWNER: owner(self._host)}

    def _taken(self) -> set[str]:
        return {service.labels[NAME] for service in find_services(self._engine, self._host)}

    def _emulator(self) -> Emulator | None:
        platform = self._spec.platform
        if self._engine or is_native(platform):
            return None
        emulator = find_emulator(platform, self._host)
        if emulator is None:
            raise foreign([platform])
        return emulator


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 1
    while True:
        number += 1
        yield f"{name}-{number}"


def _whole(text: str | None) -> int:
    return int(text) if text and text.isdecimal() else 0


def _seconds(text: str | None) -> float:
    try:
        return float(text or _USUAL_GRACE_SECONDS)
    except ValueError:
        return _USUAL_GRACE_SECONDS
