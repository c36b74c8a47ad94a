"""A server started out of an unpacked image by the image's own loader (ld.so(8)), where there are no namespaces."""

from __future__ import annotations

import platform
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from builder.host.gpu import HostGpu
from builder.probe.runner import ProbedImage, RunState

_LOADERS = {"x86_64": "lib64/ld-linux-x86-64.so.2", "aarch64": "lib/ld-linux-aarch64.so.1"}
_GRACE_SECONDS = 30


class RunningTree:
    """See ``builder.probe.runner.RunningImage``."""

    memory_limit = "none"

    def __init__(self, server: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self._server = server
        self._log = log
        self.address = ("127.0.0.1", port)
        self.started = time.monotonic()

    def log(self, lines: int = 20) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def state(self) -> RunState:
        code = self._server.poll()
        return RunState(running=code is None, exit_code=code)

    def peak_memory(self) -> int | None:
        return None

    def outbound_attempts(self) -> int | None:
        return None

    def stop(self, grace_seconds: float) -> int:
        self._server.terminate()
        try:
            return self._server.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._server.kill()
            return self._server.wait()

    def close(self) -> None:
        self.stop(_GRACE_SECONDS)


@contextmanager
def running_tree(image: ProbedImage, root: Path, gpu: HostGpu, **environ: str) -> Iterator[RunningTree]:
    """The image of ``root`` with the driver of this machine; ended at the end."""
    driver = root.with_name("driver")
    driver.mkdir()
    for name, library in gpu.libraries:
        (driver / name).symlink_to(library)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program, *arguments = image.argv
    loader = root / _LOADERS[platform.machine()]
    search = ":".join(map(str, (driver, *_library_directories(root))))
    command = [loader, "--inhibit-cache", "--library-path", search, root / program.lstrip("/"), *arguments]
    log = root.with_name("log")
    with log.open("wb") as output:
        server = subprocess.Popen(
            list(map(str, command)),
            env={**_environ(image, root, port), **environ},
            cwd="/",
            stdout=output,
            stderr=output,
        )
    running = RunningTree(server, port, log)
    try:
        yield running
    finally:
        running.close()


def _library_directories(root: Path) -> Iterator[Path]:
    lists = sorted((root / "etc/ld.so.conf.d").glob("*.conf"))
    lines = [line.partition("#")[0].strip() for each in lists for line in each.read_text().splitlines()]
    usual = [f"/usr/lib/{platform.machine()}-linux-gnu", "/usr/lib"]
    for line in [*lines, *usual]:
        if line.startswith("/"):
            yield root / line.lstrip("/")


def _environ(image: ProbedImage, root: Path, port: int) -> Mapping[str, str]:
    """The image's, with its absolute places below ``root``."""
    own = dict(image.env)
    return {
        **own,
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": ":".join(str(root / part.lstrip("/")) for part in own["PYTHONPATH"].split(":")),
        "MBUILD_MODELS": str(root / own["MBUILD_MODELS"].lstrip("/")),
        "MBUILD_GPU_FACTS": str(root / "opt/mbuild/gpu.json"),
        "MBUILD_HOST": "127.0.0.1",
        "MBUILD_PORT": str(port),
    }
