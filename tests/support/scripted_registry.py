"""A registry in this process that follows the distribution spec, and misbehaves on request.

``with ScriptedRegistry() as registry:`` serves on a loopback port over plain HTTP and keeps everything in memory. A
fault is asked for in advance: ``registry.next("PUT", "/blobs/", Status(500))`` answers the next PUT of a blob that way,
``times`` repeats it; ``registry.can`` says what it never does. What was asked is in ``registry.requests``, what is
stored in ``blobs`` and ``manifests``, the sizes of the chunks that it took in ``chunks``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from builder.oci.descriptor import IMAGE_INDEX
from builder.oci.reference import Reference


@dataclass(frozen=True)
class Status:
    """Answer with this status instead of doing what was asked."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    body: bytes = b""


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
class Swallow:
    """Close the connection after ``after`` bytes of the request's body; an upload keeps them."""

    after: int


@dataclass(frozen=True)
class Misreport:
    """Do what was asked, and say of an upload that it has ``offset`` bytes; of a blob, that this is its range."""

    offset: int


@dataclass(frozen=True)
class Drop:
    """Do what was asked, and close the connection instead of answering."""


@dataclass(frozen=True)
class Drip:
    """Send the body in pieces of ``size`` bytes, with a pause after each."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Forget:
    """Say that all is well, and store nothing."""


@dataclass(frozen=True)
class Expired:
    """Take the Authorization for expired: 401, with the challenge to get another."""


Fault = Status | Cut | Corrupt | Surplus | Hangup | Swallow | Misreport | Drop | Drip | Forget | Expired


@dataclass(frozen=True)
class BasicAuth:
    user: str
    password: str


@dataclass(frozen=True)
class BearerAuth:
    """Tokens from ``/token`` for this user, or for whoever brings ``identity_token``; good for ``seconds``."""

    user: str
    password: str
    identity_token: str = ""
    seconds: float = 60


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


@dataclass
class Abilities:
    """What a registry can and cannot: ``largest_body`` in bytes (more gets 413, as from a proxy), ``least_chunk`` what
    it asks of every chunk but the last."""

    chunks: bool = True
    ranges: bool = True
    mounts: bool = True
    referrers: bool = True
    largest_body: int = 1 << 40
    least_chunk: int = 0


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
        self._server = _Server(self)
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


def named_by(value: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The digests of the blobs and of the manifests that a document names."""
    blobs = [*value.get("layers", []), *([value["config"]] if "config" in value else [])]
    return [one["digest"] for one in blobs], [one["digest"] for one in value.get("manifests", [])]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry: ScriptedRegistry) -> None:
        self.registry = registry
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what the tests are about."""


_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<upload>[0-9a-f-]*)")
_REFERRERS = re.compile(r"/v2/(?P<name>.+)/referrers/(?P<digest>sha256:[0-9a-f]{64})")
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
        length = int(self.headers.get("Content-Length") or 0)
        if length > registry.can.largest_body:  # as a proxy does it: at once, the body unread
            self._refuse(413, headers={"Connection": "close"})
            self.rfile.read(length)
            self.close_connection = True
            return
        if isinstance(self._fault, Swallow):
            self._swallow(self.rfile.read(min(length, self._fault.after)))
            return
        body = self.rfile.read(length)
        if len(body) < length:  # the client went away
            self._swallow(body)
            return
        if isinstance(self._fault, Status) and self._fault.body:
            self._answer(self._fault.status, self._fault.headers, self._fault.body)
        elif isinstance(self._fault, Status):
            self._refuse(self._fault.status, self._fault.code, self._fault.headers)
        elif self.path.startswith("/token"):
            self._token(body)
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
        elif (found := _REFERRERS.fullmatch(path)) and self.server.registry.can.referrers:
            self._referrers(found["name"], found["digest"])
        elif found := _MANIFEST.fullmatch(path):
            self._manifest(found["name"], found["reference"], body)
        else:
            self._refuse(404, "NAME_UNKNOWN")

    # blobs

    def _blob(self, name: str, digest: str) -> None:
        registry = self.server.registry
        blob = registry.blobs.get((name, digest))
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if blob is None:
            self._refuse(404, "BLOB_UNKNOWN")
        elif asked and registry.can.ranges:
            start = int(asked[1])
            if start >= len(blob):
                self._refuse(416)
                return
            said = self._fault.offset if isinstance(self._fault, Misreport) else start
            self._answer(206, {"Content-Range": f"bytes {said}-{len(blob) - 1}/{len(blob)}"}, blob[start:])
        else:
            self._answer(200, {"Docker-Content-Digest": digest}, blob)

    def _upload(self, name: str, upload: str, body: bytes) -> None:
        registry, query = self.server.registry, parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            self._begin_upload(name, query)
        elif upload not in registry.uploads:
            self._refuse(404, "BLOB_UPLOAD_UNKNOWN")
        elif self.command == "DELETE":
            del registry.uploads[upload]
            self._answer(204, {})
        elif self.command == "GET":
            self._answer(204, self._progress(name, upload))
        elif self.command == "PATCH":
            self._take_chunk(name, upload, body)
        elif self.command == "PUT":
            self._finish_upload(name, query["digest"][0], bytes(registry.uploads.pop(upload)) + body)

    def _begin_upload(self, name: str, query: Mapping[str, list[str]]) -> None:
        registry = self.server.registry
        mount, source = query.get("mount", [""])[0], query.get("from", [""])[0]
        if registry.can.mounts and (source, mount) in registry.blobs:
            registry.blobs[name, mount] = registry.blobs[source, mount]
            self._answer(201, {"Location": f"/v2/{name}/blobs/{mount}"})
            return
        upload = str(uuid.uuid4())
        registry.uploads[upload] = bytearray()
        least = {"OCI-Chunk-Min-Length": str(registry.can.least_chunk)} if registry.can.least_chunk else {}
        self._answer(202, {"Location": f"/v2/{name}/blobs/uploads/{upload}?state=1", **least})

    def _take_chunk(self, name: str, upload: str, body: bytes) -> None:
        registry = self.server.registry
        begun = re.fullmatch(r"(\d+)-(\d+)", self.headers.get("Content-Range", ""))
        if not registry.can.chunks:
            self._refuse(405, "UNSUPPORTED")
        elif not begun or int(begun[1]) != len(registry.uploads[upload]):
            self._refuse(416, "RANGE_INVALID")
        else:
            registry.uploads[upload] += body
            registry.chunks.append(len(body))
            self._answer(202, self._progress(name, upload))

    def _progress(self, name: str, upload: str) -> dict[str, str]:
        has = len(self.server.registry.uploads[upload])
        if isinstance(self._fault, Misreport):
            has = self._fault.offset
        return {"Location": f"/v2/{name}/blobs/uploads/{upload}?state=2", "Range": f"0-{max(has - 1, 0)}"}

    def _swallow(self, body: bytes) -> None:
        self.close_connection = True
        found = _UPLOADS.fullmatch(urlsplit(self.path).path)
        if found and found["upload"] in self.server.registry.uploads:
            self.server.registry.uploads[found["upload"]] += body

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
        blobs, inner = named_by(value)
        if lacking := [one for one in blobs if (name, one) not in registry.blobs]:
            self._refuse(400, "MANIFEST_BLOB_UNKNOWN", detail=lacking[0])
        elif any((name, one) not in registry.manifests for one in inner):
            self._refuse(400, "MANIFEST_UNKNOWN")
        else:
            stored = self.headers["Content-Type"], body
            registry.manifests[name, reference] = registry.manifests[name, _digest(body)] = stored
            subject = (value.get("subject") or {}).get("digest")
            noted = {"OCI-Subject": subject} if subject and registry.can.referrers else {}
            self._answer(201, {"Docker-Content-Digest": _digest(body), **noted})

    def _referrers(self, name: str, digest: str) -> None:
        """All that name the digest as their subject, one a page."""
        query = parse_qs(urlsplit(self.path).query)
        wanted, page = query.get("artifactType", [""])[0], int(query.get("page", ["0"])[0])
        found = {}
        for (repository, _), (media_type, raw) in self.server.registry.manifests.items():
            value = json.loads(raw)
            kind = value.get("artifactType") or (value.get("config") or {}).get("mediaType", "")
            if repository == name and (value.get("subject") or {}).get("digest") == digest and wanted in ("", kind):
                found[_digest(raw)] = {
                    "mediaType": media_type,
                    "digest": _digest(raw),
                    "size": len(raw),
                    "artifactType": kind,
                    "annotations": value.get("annotations", {}),
                }
        listed = list(found.values())
        index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": listed[page : page + 1]}
        headers = {"Content-Type": IMAGE_INDEX} | ({"OCI-Filters-Applied": "artifactType"} if wanted else {})
        if page + 1 < len(listed):
            filtered = f"artifactType={quote(wanted, safe='')}&" if wanted else ""
            headers["Link"] = f'</v2/{name}/referrers/{digest}?{filtered}page={page + 1}>; rel="next"'
        self._answer(200, headers, json.dumps(index).encode())

    # who may

    def _allowed(self) -> bool:
        auth, given = self.server.registry.auth, self.headers.get("Authorization", "")
        challenge, good = "", True
        if isinstance(auth, BasicAuth):
            challenge, good = 'Basic realm="scripted"', given == _basic(auth)
        elif isinstance(auth, BearerAuth):
            realm = self.server.registry.realm or f"http://{self.server.registry.name}/token"
            challenge = f'Bearer realm="{realm}",service="scripted",scope="registry:catalog:*"'
            good = self.server.registry.tokens.get(given.removeprefix("Bearer "), 0) > time.monotonic()
        if good and not isinstance(self._fault, Expired):
            return True
        self._refuse(401, "UNAUTHORIZED", {"WWW-Authenticate": challenge})
        return False

    def _token(self, body: bytes) -> None:
        auth = self.server.registry.auth
        form = parse_qs(body.decode())
        known = isinstance(auth, BearerAuth) and (
            self.headers.get("Authorization") == _basic(auth)
            or (auth.identity_token and form.get("refresh_token") == [auth.identity_token])
        )
        if not known or not isinstance(auth, BearerAuth):
            self._refuse(401, "UNAUTHORIZED")
            return
        token = uuid.uuid4().hex
        self.server.registry.tokens[token] = time.monotonic() + auth.seconds
        name = "access_token" if form else "token"
        self._answer(200, {}, json.dumps({name: token, "expires_in": auth.seconds}).encode())

    # answers

    def _refuse(self, status: int, code: str = "", headers: Mapping[str, str] | None = None, detail: str = "") -> None:
        errors = [{"code": code, "message": f"scripted {status}", "detail": detail}] if code else []
        self._answer(status, headers or {}, json.dumps({"errors": errors}).encode())

    def _answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        fault = self._fault
        if body and isinstance(fault, Corrupt):
            body = bytes([body[0] ^ 255]) + body[1:]
        if isinstance(fault, Drop):
            self.close_connection = True
            return
        if isinstance(fault, Surplus):
            body += b"\0" * fault.count
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if isinstance(fault, Cut):
            body, self.close_connection = body[: fault.after], True
        if self.command == "HEAD":
            return
        pieces = [body]
        if isinstance(fault, Drip):
            pieces = [body[start : start + fault.size] for start in range(0, len(body), fault.size)]
        for piece in pieces:
            self.wfile.write(piece)
            if isinstance(fault, Drip):
                time.sleep(fault.seconds)

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet: ``registry.requests`` has it all."""


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _basic(auth: BasicAuth | BearerAuth) -> str:
    return "Basic " + base64.b64encode(f"{auth.user}:{auth.password}".encode()).decode()
