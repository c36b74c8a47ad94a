"""How a server that runs is reached, and the programs that ask its models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.host import Host
from builder.host.http import NetworkError, Request
from builder.model.face import Face
from builder.model.programs import Access, curl, example_of, python
from builder.model.signature import Signature
from builder.probe.runner import Limits

_OK = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPrograms:
    """A model that is served, and the programs that ask it."""

    name: str
    signature: Signature
    curl: str
    python: str

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "curl": self.curl, "python": self.python}


def scheme_of(env: Mapping[str, str]) -> str:
    return "https" if env.get("MBUILD_TLS_CERT") else "http"


def server_url(scheme: str, address: tuple[str, int]) -> str:
    """By name where it speaks TLS: certificates for this machine are for localhost."""
    host, port = address
    if scheme == "https" and host in ("127.0.0.1", "::1"):
        host = "localhost"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def access_to(address: tuple[str, int], limits: Limits) -> Access:
    """As the variables say that it was started with."""
    env = dict(limits.env)
    certificate = env.get("MBUILD_TLS_CERT", "")
    return Access(
        url=server_url(scheme_of(env), address),
        wants_key=bool(env.get("MBUILD_API_KEY") or env.get("MBUILD_API_KEY_FILE")),
        authority=_on_this_machine(PurePosixPath(certificate), limits) if certificate else "",
        wants_certificate=bool(env.get("MBUILD_TLS_CLIENT_CA")),
    )


def _on_this_machine(path: PurePosixPath, limits: Limits) -> str:
    """The file behind a path in the container, of those that were mounted; empty where it is the image's own."""
    for mount in limits.mounts:
        if path == mount.place or mount.place in path.parents:
            return str(mount.source / path.relative_to(mount.place))
    return ""


def programs_for(face: Face | None, access: Access, limits: Limits, host: Host) -> tuple[ModelPrograms, ...]:
    """For each model that people are to see. What a server without the document (Triton), or with TLS, is asked with is
    zeros: this machine need not trust its certificate."""
    key = _key(limits) if access.wants_key else ""
    can_ask = access.url.startswith("http://") and bool(key) == access.wants_key
    described = _described(access, key, host) if can_ask else {}
    return tuple(
        model_programs(model.name, model.signature, described, access) for model in (face.models if face else ())
    )


def _key(limits: Limits) -> str:
    """One that the server takes, of its variable or of the file that it was given; empty where neither says one."""
    env = dict(limits.env)
    if key := env.get("MBUILD_API_KEY", ""):
        return key
    try:
        lines = Path(_on_this_machine(PurePosixPath(env["MBUILD_API_KEY_FILE"]), limits)).read_text().splitlines()
    except (OSError, ValueError, LookupError):
        return ""
    return next((words[-1] for line in lines if (words := line.split()) and not words[0].startswith("#")), "")


def model_programs(name: str, signature: Signature, described: Mapping[str, Any], access: Access) -> ModelPrograms:
    """``described`` is the server's OpenAPI document, or empty."""
    about = next((tag.get("x-model") for tag in described.get("tags", ()) if tag.get("name") == name), None)
    asked = described.get("paths", {}).get(f"/v2/models/{name}/infer", {}).get("post", {}).get("requestBody", {})
    given = asked.get("content", {}).get("application/json", {}).get("example")
    example = example_of(name, signature, given, about)
    return ModelPrograms(name=name, signature=signature, curl=curl(example, access), python=python(example, access))


def _described(access: Access, key: str, host: Host) -> dict[str, Any]:
    """Its OpenAPI document; empty where it gives none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with host.http.send(Request(verb="GET", url=f"{access.url}/openapi.json", headers=headers)) as response:
            said = json.loads(response.read()) if response.status == _OK else {}
    except (NetworkError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
