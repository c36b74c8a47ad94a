"""What a scripted registry answers to each request: by the distribution spec, but for the faults it was asked for."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

from builder.oci.descriptor import IMAGE_INDEX
from tests.support.registry_faults import (
    Corrupt,
    Cut,
    Drip,
    Drop,
    Expired,
    Forget,
    Hangup,
    Misreport,
    Status,
    Surplus,
    Swallow,
)

if TYPE_CHECKING:
    from tests.support.scripted_registry import ScriptedRegistry


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


@dataclass(frozen=True)
class Asked:
    """One request as it came in; ``path`` with its query."""

    verb: str
    path: str
    headers: Mapping[str, str]


class RegistryServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, registry: ScriptedRegistry) -> None:
        self.registry = registry
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what the tests are about."""


_BLOB = re.compile(r"/v2/(?P<name>.+)/blobs/(?P<digest>sha256:[0-9a-f]{64})")
_UPLOADS = re.compile(r"/v2/(?P<name>.+)/blobs/uploads/(?P<upload>[0-9a-f-]*)")
_REFERRERS = re.compile(r"/v2/(?P<name>.+)/referrers/(?P<digest>sha256:[0-9a-f]{64})")
_TAGS = re.compile(r"/v2/(?P<name>.+)/tags/list")
_MANIFEST = re.compile(r"/v2/(?P<name>.+)/manifests/(?P<reference>[^/]+)")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: RegistryServer

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
        elif found := _TAGS.fullmatch(path):
            tags = [tag for name, tag in self.server.registry.manifests if name == found["name"] and ":" not in tag]
            self._answer(200, {}, json.dumps({"name": found["name"], "tags": tags}).encode())
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
        elif self.command == "DELETE":
            self._delete_manifest(name, reference)
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

    def _delete_manifest(self, name: str, reference: str) -> None:
        registry, by_tag = self.server.registry, ":" not in reference
        if registry.can.deletes == "nothing":
            self._refuse(405, "UNSUPPORTED")
        elif by_tag and registry.can.deletes == "manifests":  # as distribution 2 says it
            self._refuse(400, "DIGEST_INVALID")
        elif (name, reference) not in registry.manifests:
            self._refuse(404, "MANIFEST_UNKNOWN")
        else:
            stored = registry.manifests.pop((name, reference))
            if not by_tag or registry.can.deletes == "whole":
                for other in [key for key, one in registry.manifests.items() if key[0] == name and one == stored]:
                    del registry.manifests[other]
            self._answer(202, {})

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


def named_by(value: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The digests of the blobs and of the manifests that a document names."""
    blobs = [*value.get("layers", []), *([value["config"]] if "config" in value else [])]
    return [one["digest"] for one in blobs], [one["digest"] for one in value.get("manifests", [])]
