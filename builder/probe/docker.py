"""The Docker runner: the same terms as the embedded one, held by a Docker engine."""

from __future__ import annotations

from builder.errors import ProbeError
from builder.host import Host
from builder.host.container import ContainerSpec
from builder.host.docker import Container, DockerEngine, EngineFailed
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
    def has_gpu(self) -> bool:
        return self._engine.has_gpu

    def start(self, image: ProbedImage, limits: Limits) -> RunningContainer:
        """Raises NotLoaded, Unstartable where the image is at fault, and EngineFailed where the engine is."""
        name = image.engine_name or str(image.config.digest)
        if self._engine.image_id(name) is None:
            raise NotLoaded(digest=image.manifest.digest)
        spec = ContainerSpec(
            image=name,
            port=limits.port,
            memory_bytes=limits.memory_bytes,
            tmpfs_bytes=limits.tmp_bytes,
            pids=limits.pids,
            env=limits.env,
            gpu=limits.gpu,
        )
        started = self._host.clock.monotonic()
        try:
            return RunningContainer(self._host, self._engine.start(spec), started)
        except EngineFailed as error:
            reason = str(error.facts["reason"])
            if _RUNTIME in reason:  # the engine is well, and what it was to run is not
                raise Unstartable(platform=image.config.platform, step="run its command", reason=reason) from error
            raise


class RunningContainer:
    """See ``RunningImage``."""

    memory_limit = "engine"

    def __init__(self, host: Host, container: Container, started: float) -> None:
        self._clock = host.clock
        self._container = container
        self.address = container.address
        self.started = started

    def log(self, lines: int = 20) -> str:
        return self._container.logs(tail=lines).rstrip("\n")

    def state(self) -> RunState:
        state = self._container.state()
        return RunState(running=state.running, exit_code=state.exit_code, out_of_memory=state.out_of_memory)

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

    def close(self) -> None:
        self._container.remove()
