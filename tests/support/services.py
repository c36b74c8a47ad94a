"""The services of the tests: a Docker engine, where none is reachable, and a registry with TLS and a password.

    scripts/services start | stop | status | env | run COMMAND...

Both come from Debian's packages (as root; installed where they are missing) and keep their state below MBUILD_SERVICES.
``stop`` ends only what ``start`` started. ``run`` starts what is missing, runs a command with the environment set, and
stops what it started. Where a service cannot be had it is left out, and the reason goes to stderr.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import docker
from docker.errors import DockerException

from tests.support.certificates import make_certificate
from tests.support.daemons import Daemon, DidNotStart, recall, remember, start_daemon

USER, PASSWORD = "mbuild", "correct horse battery staple"


class LeftOut(Exception):
    """This machine cannot have the service; the text says why."""


def state_directory() -> Path:
    """MBUILD_SERVICES, else below the XDG state directory."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return Path(os.environ.get("MBUILD_SERVICES") or home / "mbuild" / "services").absolute()


@dataclass(frozen=True)
class Service:
    """``start`` gives a daemon, None when somebody else's is there already, or raises LeftOut."""

    name: str
    start: Callable[[Path], Daemon | None]
    clean: Callable[[Path], None]

    def record(self) -> Path:
        return state_directory() / f"{self.name}.json"


def install(package: str, program: str) -> str:
    """The path of a program, from Debian's package where it is missing."""
    if found := find(program):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise LeftOut(f"{program} is missing; as root on Debian: apt-get install --no-install-recommends {package}")
    for argv in (["update"], ["install", "-y", "--no-install-recommends", package]):
        done = subprocess.run(
            ["apt-get", "-qq", *argv],
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise LeftOut(f"apt-get {' '.join(argv)} failed: {done.stderr.strip()[-500:]}")
    if found := find(program):
        return found
    raise LeftOut(f"the package {package} is there and {program} is not")


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


# the Docker engine


def engine_answers(address: str | None = None) -> bool:
    try:
        client = docker.DockerClient(base_url=address, timeout=5) if address else docker.from_env(timeout=5)
        with closing(client):
            return bool(client.ping())
    except (DockerException, OSError):
        return False


def start_engine(state: Path) -> Daemon | None:
    if engine_answers():
        return None
    if os.geteuid() != 0:
        raise LeftOut("no Docker engine is reachable, and only root can start one")
    dockerd = install("docker.io", "dockerd")
    address = f"unix://{state}/docker.sock"
    argv = [dockerd, "--host", address, "--data-root", f"{state}/docker", "--exec-root", f"{state}/exec"]
    argv += ["--pidfile", f"{state}/docker.pid"]
    (state / "docker.pid").unlink(missing_ok=True)
    return start_daemon(argv, state / "docker.log", {"DOCKER_HOST": address}, lambda: engine_answers(address))


def clean_engine(state: Path) -> None:
    for name in ("docker", "exec"):
        shutil.rmtree(state / name, ignore_errors=True)


# the registry

CONFIG = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {state}/registry}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}", tls: {{certificate: {certificate}, key: {key}}}}}
auth: {{htpasswd: {{realm: mbuild tests, path: {state}/htpasswd}}}}
"""


def start_registry(state: Path) -> Daemon:
    program = install("docker-registry", "docker-registry")
    made = make_certificate(state / "tls")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (state / "htpasswd").write_text(f"{USER}:{hashed}\n")
    port = free_port()
    config = CONFIG.format(state=state, port=port, certificate=made.certificate, key=made.key)
    (state / "registry.yml").write_text(config)
    env = {
        "MBUILD_TEST_REGISTRY": f"localhost:{port}",
        "MBUILD_TEST_REGISTRY_USER": USER,
        "MBUILD_TEST_REGISTRY_PASSWORD": PASSWORD,
        "MBUILD_TEST_REGISTRY_CA": str(made.certificate),
    }
    argv = [program, "serve", str(state / "registry.yml")]
    return start_daemon(argv, state / "registry.log", env, lambda: speaks_tls(port, made.certificate))


def clean_registry(state: Path) -> None:
    shutil.rmtree(state / "registry", ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def speaks_tls(port: int, ca: Path) -> bool:
    context = ssl.create_default_context(cafile=ca)
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            context.wrap_socket(plain, server_hostname="localhost").close()
    except OSError:
        return False
    return True


# the commands

SERVICES = (
    Service("engine", start_engine, clean_engine),
    Service("registry", start_registry, clean_registry),
)


def start() -> list[Service]:
    """Start what is missing; gives the services that this call started."""
    state, started = state_directory(), []
    state.mkdir(parents=True, exist_ok=True)
    for service in SERVICES:
        if recall(service.record()):
            continue
        try:
            daemon = service.start(state)
        except (LeftOut, DidNotStart) as reason:
            print(f"left out: {service.name}: {reason}", file=sys.stderr)
            continue
        if daemon:
            remember(daemon, service.record())
            started.append(service)
    return started


def stop(services: list[Service]) -> None:
    for service in reversed(services):
        if daemon := recall(service.record()):
            daemon.stop()
            if daemon.alive:
                print(f"{service.name} (pid {daemon.pid}) does not end", file=sys.stderr)
                continue
            service.clean(state_directory())
        service.record().unlink(missing_ok=True)


def environment() -> Mapping[str, str]:
    """What the tests need to reach the services that we started."""
    found: dict[str, str] = {}
    for service in SERVICES:
        daemon = recall(service.record())
        found |= daemon.env if daemon else {}
    return found


def status() -> None:
    reachable = "reachable" if engine_answers(environment().get("DOCKER_HOST")) else "not reachable"
    for service in SERVICES:
        daemon = recall(service.record())
        ours = f"started by us, pid {daemon.pid}" if daemon else "not started by us"
        print(f"{service.name}: {ours}" + (f", {reachable}" if service.name == "engine" else ""))


def run(command: list[str]) -> int:
    started = start()
    try:
        return subprocess.run(command, env=os.environ | environment()).returncode
    finally:
        stop(started)


def main(arguments: list[str]) -> int:
    match arguments:
        case ["start"]:
            start()
        case ["stop"]:
            stop(list(SERVICES))
        case ["status"]:
            status()
        case ["env"]:
            print("".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment().items()), end="")
        case ["run", _, *_]:
            return run(arguments[1:])
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
