"""The Docker runner: the same terms as the embedded one, held by a Docker engine."""

from __future__ import annotations

from collections.abc import Iterator

from builder.errors import ProbeError
from builder.host import Host
from builder.host.container import ContainerSpec
from builder.host.docker import DockerEngine
from builder.host.docker_calls import EngineFailed
from builder.host.docker_containers import Container
from builder.probe.memory import peak_resident
from builder.probe.runner import Limits, ProbedImage, RunState, Unstartable
from builder.probe.traffic import outbound_attempts

_RUNTIME = "OCI runtime create failed"


class NotLoaded(ProbeError):
    code = "image-not-loaded"
    message = "the image {digest} is not in the Docker engine"
    hint = "build it with --load, or test it with the embedded runner"


class DockerRunner:
    """Starts images that the engine has."""

    name, emulator = "docker", ""

    def __init__(self, host: Host, engine: DockerEngine) -> None:
        self._host = host
        self._engine = engine

    @property
    def place(self) -> str:
        return self._engine.identity

    @property
    def has_gpu(self) -> bool:
        return self._engine.has_gpu

    def start(self, image: ProbedImage, limits: Limits) -> RunningContainer:
        """Raises NotLoaded, Unstartable where the image is at fault, and EngineFailed where the engine is."""
        name = image.engine_name or str(image.config.digest)
        if self._engine.image_id(name) is None:
            raise NotLoaded(digest=image.manifest.digest)
        return self.start_named(name, str(image.config.platform), limits)

    def start_named(self, name: str, platform: str, limits: Limits) -> RunningContainer:
        """The same of an image by its name or id in the engine."""
        spec = ContainerSpec(
            image=name,
            port=limits.port,
            memory_bytes=limits.memory_bytes,
            tmpfs_bytes=limits.tmp_bytes,
            pids=limits.pids,
            cpus=limits.cpus,
            env=limits.env,
            gpus=limits.gpus,
            mounts=limits.mounts,
            published=limits.published,
            is_connected=limits.is_connected,
            labels=dict(limits.labels),
        )
        started = self._host.clock.monotonic()
        try:
            return RunningContainer(self._host, self._engine.start(spec), started)
        except EngineFailed as error:
            reason = str(error.facts["reason"])
            if _RUNTIME in reason:  # the engine is well, and what it was to run is not
                raise Unstartable(platform=platform, step="run its command", reason=reason) from error
            raise


class RunningContainer:
    """See ``RunningImage``."""

    memory_limit = "engine"

    def __init__(self, host: Host, container: Container, started: float) -> None:
        self._clock = host.clock
        self._container = container
        self._released = False
        self.address = container.address
        self.started = started

    @property
    def id(self) -> str:
        return self._container.id[:12]

    def log(self, lines: int = 20) -> str:
        return self._container.logs(tail=lines).rstrip("\n")

    def follow(self) -> Iterator[bytes]:
        return self._container.follow()

    def state(self) -> RunState:
        state = self._container.state()
        return RunState(
            running=state.running,
            exit_code=state.exit_code,
            out_of_memory=state.out_of_memory,
            is_healthy=state.is_healthy,
        )

    def peak_memory(self) -> int | None:
        """As the process shows it where the engine runs on this machine, else as the engine counts it."""
        pid = self._container.pid()
        return (peak_resident(pid) if pid else None) or self._container.peak_memory_bytes()

    def outbound_attempts(self) -> int | None:
        """Only an engine on this machine shows its processes."""
        pid = self._container.pid()
        return outbound_attempts(pid) if pid else None

    def stop(self, grace_seconds: float) -> int:
        return self._container.stop(grace_seconds=max(1, round(grace_seconds)))

    def terminate(self) -> None:
        self._container.signal("SIGTERM")

    def kill(self) -> None:
        self._container.signal("SIGKILL")

    def release(self) -> None:
        self._released = True

    def close(self) -> None:
        if not self._released:
            self._container.remove()
