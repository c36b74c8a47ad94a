"""A registry in this process that follows the distribution spec, and misbehaves on request.

``with ScriptedRegistry() as registry:`` serves on a loopback port over plain HTTP and keeps everything in memory. A
fault is asked for in advance: ``registry.next("PUT", "/blobs/", Status(500))`` answers the next PUT of a blob that way,
``times`` repeats it; ``registry.can`` says what it never does. What was asked is in ``registry.requests``, what is
stored in ``blobs`` and ``manifests``, the sizes of the chunks that it took in ``chunks``.
"""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import dataclass
from types import TracebackType

from builder.oci.reference import Reference
from tests.support.registry_answers import Asked, BasicAuth, BearerAuth, RegistryServer, named_by
from tests.support.registry_faults import Fault


@dataclass
class _Rule:
    verb: str
    path: str
    fault: Fault
    times: int


@dataclass
class Abilities:
    """What a registry can and cannot: ``largest_body`` in bytes (more gets 413, as from a proxy), ``least_chunk`` what
    it asks of every chunk but the last, ``deletes`` what it removes: tags and manifests ("all"), "manifests" alone,
    "nothing", or with a tag the "whole" image, which is not the specification's way."""

    chunks: bool = True
    ranges: bool = True
    mounts: bool = True
    referrers: bool = True
    largest_body: int = 1 << 40
    least_chunk: int = 0
    deletes: str = "all"


class ScriptedRegistry:
    """See the module. ``tls`` is the context of a server."""

    def __init__(
        self,
        auth: BasicAuth | BearerAuth | None = None,
        abilities: Abilities | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.auth = auth
        self.realm = ""
        self.can = abilities or Abilities()
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: dict[str, float] = {}
        self.requests: list[Asked] = []
        self.chunks: list[int] = []
        self.connections = 0
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._server = RegistryServer(self)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)

    @property
    def name(self) -> str:
        """host:port, as a reference names it."""
        return f"127.0.0.1:{self._server.server_port}"

    def reference(self, repository: str = "tiny", tag: str = "1") -> Reference:
        return Reference(registry=self.name, repository=repository, tag=tag)

    def next(self, verb: str, path: str, fault: Fault, *, times: int = 1) -> None:
        """Answer the next ``times`` requests with this verb and ``path`` somewhere in theirs with ``fault``."""
        with self._lock:
            self._rules.append(_Rule(verb, path, fault, times))

    def fault(self, verb: str, path: str) -> Fault | None:
        with self._lock:
            for rule in self._rules:
                if rule.times and rule.verb == verb and rule.path in path:
                    rule.times -= 1
                    return rule.fault
        return None

    def forgive(self) -> None:
        """No more faults."""
        with self._lock:
            self._rules.clear()

    def asked(self, verb: str, path: str = "") -> list[Asked]:
        """The requests so far with this verb and ``path`` somewhere in theirs."""
        return [one for one in self.requests if one.verb == verb and path in one.path]

    def __enter__(self) -> ScriptedRegistry:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def missing(self) -> list[tuple[str, str]]:
        """What tags and manifests name and the registry has not: (repository, digest)."""
        lacking = []
        for (name, _), (_, raw) in self.manifests.items():
            blobs, inner = named_by(json.loads(raw))
            lacking += [(name, one) for one in blobs if (name, one) not in self.blobs]
            lacking += [(name, one) for one in inner if (name, one) not in self.manifests]
        return lacking
