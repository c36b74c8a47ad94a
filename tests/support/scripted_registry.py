"""A registry in this process that follows the distribution spec, and misbehaves on request.

``with ScriptedRegistry() as registry:`` serves on a loopback port over plain HTTP and keeps everything in memory. A
fault is asked for in advance: ``registry.next("PUT", "/blobs/", Status(500))`` answers the next PUT of a blob that way,
``times`` repeats it. What was asked is in ``registry.requests``, what is stored in ``blobs`` and ``manifests``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from builder.oci.reference import Reference


@dataclass(frozen=True)
class Status:
    """Answer with this status instead of doing what was asked."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True)
class Cut:
    """Close the connection after ``after`` bytes of the body, whose length was promised whole."""

    after: int


@dataclass(frozen=True)
class Corrupt:
    """Flip the first byte of the body."""


@dataclass(frozen=True)
class Surplus:
    """Send ``count`` bytes more than the blob has, and say so in Content-Length."""

    count: int


@dataclass(frozen=True)
class Hangup:
    """Close the connection without an answer, the request's body unread."""


@dataclass(frozen=True)
class Forget:
    """Say that all is well, and store nothing."""


@dataclass(frozen=True)
class Expired:
    """Take the Authorization for expired: 401, with the challenge to get another."""


Fault = Status | Cut | Corrupt | Surplus | Hangup | Forget | Expired


@dataclass(frozen=True)
class BasicAuth:
    user: str
    password: str


@dataclass(frozen=True)
class BearerAuth:
    """Tokens from ``/token`` for this user."""

    user: str
    password: str


@dataclass
class _Rule:
    verb: str
    path: str
    fault: Fault
    times: int


@dataclass(frozen=True)
class Asked:
    """One request as it came in; ``path`` with its query."""

    verb: str
    path: str
    headers: Mapping[str, str]


class ScriptedRegistry:
    """See the module."""

    def __init__(self, auth: BasicAuth | BearerAuth | None = None) -> None:
        self.auth = auth
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.uploads: dict[str, bytearray] = {}
        self.tokens: set[str] = set()
        self.requests: list[Asked] = []
        self.connections = 0
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()
        self._server = _Server(self)

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


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry: ScriptedRegistry) -> None:
        self.registry = registry
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what the tests are about."""


_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<upload>[0-9a-f-]*)")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.registry.connections += 1

    def handle_one_exchange(self) -> None:
        registry = self.server.registry
        registry.requests.append(Asked(self.command, self.path, dict(self.headers.items())))
        self._fault = registry.fault(self.command, self.path)
        if isinstance(self._fault, Hangup):
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if isinstance(self._fault, Status):
            self._refuse(self._fault.status, self._fault.code, self._fault.headers)
        elif self.path.startswith("/token"):
            self._token()
        elif self._allowed():
            self._route(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one_exchange  # noqa: N815

    def _route(self, body: bytes) -> None:
        path = urlsplit(self.path).path
        if path == "/v2/":
            self._answer(200, {}, b"{}")
        elif found := _BLOB.fullmatch(path):
            self._blob(found["name"], found["digest"])
        elif found := _UPLOADS.fullmatch(path):
            self._upload(found["name"], found["upload"], body)
        elif found := _MANIFEST.fullmatch(path):
            self._manifest(found["name"], found["reference"], body)
        else:
            self._refuse(404, "NAME_UNKNOWN")

    # blobs

    def _blob(self, name: str, digest: str) -> None:
        blob = self.server.registry.blobs.get((name, digest))
        if blob is None:
            self._refuse(404, "BLOB_UNKNOWN")
        else:
            self._answer(200, {"Docker-Content-Digest": digest}, blob)

    def _upload(self, name: str, upload: str, body: bytes) -> None:
        registry, query = self.server.registry, parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            mount, source = query.get("mount", [""])[0], query.get("from", [""])[0]
            if (source, mount) in registry.blobs:
                registry.blobs[name, mount] = registry.blobs[source, mount]
                self._answer(201, {"Location": f"/v2/{name}/blobs/{mount}"})
                return
            upload = str(uuid.uuid4())
            registry.uploads[upload] = bytearray()
            self._answer(202, {"Location": f"/v2/{name}/blobs/uploads/{upload}?state=1"})
        elif upload not in registry.uploads:
            self._refuse(404, "BLOB_UPLOAD_UNKNOWN")
        elif self.command == "DELETE":
            del registry.uploads[upload]
            self._answer(204, {})
        elif self.command == "PUT":
            self._finish_upload(name, query["digest"][0], bytes(registry.uploads.pop(upload)) + body)

    def _finish_upload(self, name: str, digest: str, content: bytes) -> None:
        if _digest(content) != digest:
            self._refuse(400, "DIGEST_INVALID")
            return
        if not isinstance(self._fault, Forget):
            self.server.registry.blobs[name, digest] = content
        self._answer(201, {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest})

    # manifests

    def _manifest(self, name: str, reference: str, body: bytes) -> None:
        if self.command == "PUT":
            self._put_manifest(name, reference, body)
        elif (name, reference) in self.server.registry.manifests:
            media_type, raw = self.server.registry.manifests[name, reference]
            self._answer(200, {"Content-Type": media_type, "Docker-Content-Digest": _digest(raw)}, raw)
        else:
            self._refuse(404, "MANIFEST_UNKNOWN")

    def _put_manifest(self, name: str, reference: str, body: bytes) -> None:
        registry, value = self.server.registry, json.loads(body)
        blobs = [one["digest"] for one in [*value.get("layers", []), *([value["config"]] if "config" in value else [])]]
        inner = [one["digest"] for one in value.get("manifests", [])]
        if any((name, one) not in registry.blobs for one in blobs):
            self._refuse(400, "MANIFEST_BLOB_UNKNOWN")
        elif any((name, one) not in registry.manifests for one in inner):
            self._refuse(400, "MANIFEST_UNKNOWN")
        else:
            stored = self.headers["Content-Type"], body
            registry.manifests[name, reference] = registry.manifests[name, _digest(body)] = stored
            self._answer(201, {"Docker-Content-Digest": _digest(body)})

    # who may

    def _allowed(self) -> bool:
        auth, given = self.server.registry.auth, self.headers.get("Authorization", "")
        challenge, good = "", True
        if isinstance(auth, BasicAuth):
            challenge, good = 'Basic realm="scripted"', given == _basic(auth)
        elif isinstance(auth, BearerAuth):
            realm = f"http://{self.server.registry.name}/token"
            challenge = f'Bearer realm="{realm}",service="scripted",scope="registry:catalog:*"'
            good = given.removeprefix("Bearer ") in self.server.registry.tokens
        if good and not isinstance(self._fault, Expired):
            return True
        self._refuse(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return False

    def _token(self) -> None:
        auth = self.server.registry.auth
        if not isinstance(auth, BearerAuth) or self.headers.get("Authorization") != _basic(auth):
            self._refuse(401, "UNAUTHORIZED")
            return
        token = uuid.uuid4().hex
        self.server.registry.tokens.add(token)
        self._answer(200, {}, json.dumps({"token": token}).encode())

    # answers

    def _refuse(self, status: int, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        errors = [{"code": code, "message": f"scripted {status}"}] if code else []
        self._answer(status, headers or {}, json.dumps({"errors": errors}).encode())

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        fault = self._fault
        if body and isinstance(fault, Corrupt):
            body = bytes([body[0] ^ 255]) + body[1:]
        if isinstance(fault, Surplus):
            body += b"\0" * fault.count
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if isinstance(fault, Cut):
            body, self.close_connection = body[: fault.after], True
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet: ``registry.requests`` has it all."""


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _basic(auth: BasicAuth | BearerAuth) -> str:
    return "Basic " + base64.b64encode(f"{auth.user}:{auth.password}".encode()).decode()
