"""The one door to a Docker engine; the only importer of the docker SDK. Its exceptions end here.

The engine is found as the ``docker`` command finds it: DOCKER_HOST (with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), the
current context, the default socket. Whatever the engine is called (Docker, Moby, a compatible API), only the Engine
API v1.41 is relied on. The SDK is imported by who uses it: many a command talks to no engine, and it loads slowly.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from builder.errors import AssemblyError, ToolMissing
from builder.host.build_context import context_chunks
from builder.host.buildkit import trace_lines
from builder.host.container import ContainerSpec, EngineImage
from builder.host.docker_calls import EngineFailed, mapped
from builder.host.docker_config import docker_config
from builder.host.docker_containers import Container, Containers
from builder.oci.digest import Digest

_DEFAULT_SOCKET = Path("/var/run/docker.sock")
_ANSWER_SECONDS = 3
_CALL_SECONDS = 600
_LINES_KEPT = 30
_MODEL_LABEL = "dev.mbuild.model.digest"


class EngineUnreachable(ToolMissing):
    code = "docker-engine-missing"
    message = "no Docker engine answers on this machine"
    hint = "start one (`systemctl start docker`, Docker Desktop), set DOCKER_HOST, or use `--engine embedded`"


class BuildFailed(AssemblyError):
    code = "docker-build-failed"
    message = "docker build failed: {reason}\n{lines}"
    hint = "the lines above are the engine's own; `mbuild render` writes the same context for `docker build` by hand"


class DockerEngine:
    """A Docker engine that answers. Every call raises EngineFailed (with the engine's words) when it refuses."""

    def __init__(self, client: Any, remote_host: str = "") -> None:
        self._client = client
        self._api = client.api
        with mapped("say what it is"):
            self._about: Mapping[str, Any] = client.version()
            self._info: Mapping[str, Any] = client.info()
        self._containers = Containers(client, self._info, remote_host)

    @property
    def version(self) -> str:
        return str(self._about.get("Version", ""))

    @property
    def identity(self) -> str:
        """Another text for another engine, version of it, or kernel below it; empty where it does not say who it is."""
        identity = self._info.get("ID")
        return f"{identity} {self.version} {self._info.get('KernelVersion')}" if identity else ""

    @property
    def has_buildkit(self) -> bool:
        """Linux engines since API 1.39 build with BuildKit when asked for ``version=2``."""
        api = tuple(int(part) for part in str(self._about.get("ApiVersion", "0")).split("."))
        components = {str(item.get("Name", "")) for item in self._about.get("Components") or ()}
        return api >= (1, 39) and self._about.get("Os") == "linux" and "Podman Engine" not in components

    @property
    def has_gpu(self) -> bool:
        """Whether NVIDIA's container toolkit is configured for it, as a runtime or by CDI."""
        devices = self._info.get("DiscoveredDevices") or ()
        return "nvidia" in (self._info.get("Runtimes") or {}) or any(
            str(device.get("ID", "")).startswith("nvidia.com/gpu") for device in devices
        )

    # images

    def has_image(self, config_digest: Digest) -> bool:
        """Whether the image whose id is this config's digest is there."""
        return self.image_id(str(config_digest)) is not None

    def image_id(self, reference: str) -> str | None:
        """The id (``sha256:...``) of an image by id or reference, or None."""
        import docker.errors

        with mapped(f"look for {reference}"):
            try:
                return str(self._api.inspect_image(reference)["Id"])
            except docker.errors.NotFound:
                return None

    def image(self, reference: str) -> EngineImage | None:
        """What it says of an image by id or reference, or None."""
        import docker.errors

        with mapped(f"look for {reference}"):
            try:
                said = self._api.inspect_image(reference)
            except docker.errors.NotFound:
                return None
        config = said.get("Config") or {}
        return EngineImage(
            id=str(said["Id"]),
            platform=f"{said.get('Os', 'linux')}/{said.get('Architecture', '')}",
            labels=config.get("Labels") or {},
            ports=tuple(sorted(int(port.partition("/")[0]) for port in config.get("ExposedPorts") or {})),
            digests=tuple(said.get("RepoDigests") or ()),
        )

    def known_layers(self, diff_ids: Sequence[Digest]) -> int:
        """How many of these layers, from the lowest on, the engine has already, below an image that mbuild made."""
        most = 0
        with mapped("list its images"):
            for listed in self._api.images(filters={"label": _MODEL_LABEL}):
                stack = self._api.inspect_image(listed["Id"]).get("RootFS", {}).get("Layers") or []
                same = takewhile(lambda pair: str(pair[0]) == pair[1], zip(diff_ids, stack, strict=False))
                most = max(most, sum(1 for _ in same))
        return most

    def load(self, chunks: Iterator[bytes]) -> tuple[str, ...]:
        """Load a docker-archive; the references (or ids, where it has none) that the engine says it loaded."""
        loaded: list[str] = []
        with mapped("load an image"):
            for line in self._api.load_image(chunks, quiet=True):
                if error := line.get("error"):
                    raise EngineFailed(action="load an image", reason=error)
                text = str(line.get("stream", ""))
                if text.startswith("Loaded image"):
                    loaded.append(text.split(": ", 1)[1].strip())
        return tuple(loaded)

    def save(self, image: str) -> Iterator[bytes]:
        """The docker-archive of one image, streamed."""
        with mapped(f"save {image}"):
            yield from self._api.get_image(image)

    def pull(self, reference: str) -> None:
        """Have the engine fetch an image, by its own settings and with the user's logins. Raises EngineFailed."""
        if self.image_id(reference) is None:
            with mapped(f"pull {reference}"):
                self._client.images.pull(reference)

    def tag(self, image: str, reference: str) -> None:
        """Give an image a name, taken from whichever image has it."""
        with mapped(f"tag {reference}"):
            self._api.tag(image, *_split_tag(reference))

    def remove_image(self, image: str) -> None:
        """Remove an image with its tags; it is no error when there is none."""
        import docker.errors

        with mapped(f"remove {image}"):
            try:
                self._api.remove_image(image, force=True)
            except docker.errors.NotFound:
                return

    def build(self, context: Path, tag: str = "", on_line: Callable[[str], None] = lambda _: None) -> str:
        """Build the Dockerfile in ``context`` and return the image's id, tagged where asked. Raises BuildFailed."""
        parameters = {"dockerfile": "Dockerfile", "rm": "1", "forcerm": "1"}
        parameters |= {"t": tag} if tag else {}
        parameters |= {"version": "2"} if self.has_buildkit else {}
        with mapped("build"):
            headers = {"Content-Type": "application/x-tar"}
            url = self._api._url("/build")
            # docker-py's own build() cannot ask for BuildKit.
            body = context_chunks(context)
            response = self._api._post(url, data=body, params=parameters, headers=headers, stream=True)
            self._api._raise_for_status(response)
            built = _follow_build(self._api._stream_helper(response, decode=True), on_line)
        built = built or (self.image_id(tag) or "" if tag else "")
        if not built:
            raise BuildFailed(reason="the engine named no image", lines="")
        return built

    # containers

    def start(self, spec: ContainerSpec) -> Container:
        """Start a container that can be reached at ``address`` from here. Raises PortUnavailable."""
        return self._containers.start(spec)

    def find(self, label: str, value: str = "") -> tuple[Container, ...]:
        """Containers of mbuild, running or not, with that label (of any value, where none is given)."""
        return self._containers.find(label, value)


def connect(environ: Mapping[str, str] | None = None) -> DockerEngine | None:
    """The engine that ``docker`` would talk to, or None where none answers within a few seconds."""
    environ = os.environ if environ is None else environ
    if not _is_named(environ) and not _DEFAULT_SOCKET.exists():
        return None
    import docker

    remote_shell = environ.get("DOCKER_HOST", "").startswith("ssh://")
    try:
        client = docker.from_env(
            environment=dict(environ), version="auto", timeout=_ANSWER_SECONDS, use_ssh_client=remote_shell
        )
        engine = DockerEngine(client, _remote_host(environ.get("DOCKER_HOST") or client.api.base_url))
    except (docker.errors.DockerException, OSError, EngineFailed):
        return None
    client.api.timeout = _CALL_SECONDS
    return engine


def _is_named(environ: Mapping[str, str]) -> bool:
    """Whether something names an engine. Where nothing does, and the default socket is not there, the SDK need not be
    loaded to find that nobody answers."""
    if sys.platform == "win32" or environ.get("DOCKER_HOST") or environ.get("DOCKER_CONTEXT"):
        return True
    try:
        settings = docker_config(environ).read_bytes()
    except OSError:
        return False
    return b'"currentContext"' in settings


def require(environ: Mapping[str, str] | None = None) -> DockerEngine:
    """``connect`` for those who cannot do without; raises EngineUnreachable."""
    engine = connect(environ)
    if engine is None:
        raise EngineUnreachable
    return engine


def _remote_host(address: str) -> str:
    """The host name of an engine on another machine, or an empty string."""
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "http", "https", "ssh") or parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return ""
    return parts.hostname or ""


def _split_tag(reference: str) -> tuple[str, str | None]:
    name, colon, tag = reference.rpartition(":")
    return (name, tag) if colon and "/" not in tag else (reference, None)


def _follow_build(messages: Iterator[Mapping[str, Any]], on_line: Callable[[str], None]) -> str:
    """Read the engine's progress to its end; the image's id, where it tells it. Raises BuildFailed."""
    kept: deque[str] = deque(maxlen=_LINES_KEPT)
    built = ""
    for message in messages:
        if error := message.get("error"):
            raise BuildFailed(reason=str(error).strip(), lines="\n".join(kept))
        if isinstance(about := message.get("aux"), dict):
            built = str(about.get("ID") or built)
        for line in filter(str.strip, _build_lines(message)):
            kept.append(line)
            on_line(line)
    return built


def _build_lines(message: Mapping[str, Any]) -> Iterator[str]:
    if message.get("id") == "moby.buildkit.trace":
        yield from trace_lines(str(message.get("aux", "")))
    else:
        yield from str(message.get("stream", "")).splitlines()
