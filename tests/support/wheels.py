"""Tiny wheels made for a test, and a package index (PEP 503) on this machine that can ask for a password."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from builder.host.store import Store
from builder.plan.wheel import LockedWheel

WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def make_wheel(
    name: str,
    version: str = "1.0",
    files: Mapping[str, bytes] | None = None,
    requires: tuple[str, ...] = (),
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    """The bytes of ``NAME-VERSION-py3-none-any.whl``; ``files`` may also replace its metadata."""
    folder = f"{name}-{version}.dist-info"
    lines = "".join(f"Requires-Dist: {line}\n" for line in requires)
    members = {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{lines}".encode(),
        f"{folder}/WHEEL": WHEEL.encode(),
        f"{folder}/RECORD": b"",
        **({f"{name}/__init__.py": b"VALUE = 1\n"} if files is None else files),
    }
    return zipped([(zipfile.ZipInfo(path), content) for path, content in members.items()], compression)


def zipped(members: list[tuple[zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for info, content in members:
            archive.writestr(info, content, compression)
    return out.getvalue()


def stored_wheel(store: Store, content: bytes, name: str = "thing", version: str = "1.0") -> LockedWheel:
    """A wheel that was fetched already."""
    stored = store.put_blob([content])
    filename = f"{name}-{version}-py3-none-any.whl"
    return LockedWheel(name=name, version=version, filename=filename, sha256=stored.digest.hex, size=stored.size)


@dataclass
class Index:
    """Wheels by file name, and what was asked: (path, Authorization header), and of files from which byte on. The next
    answers for files end after ``cuts`` bytes, or are but a status (``refusals``)."""

    wheels: dict[str, bytes]
    login: str = ""
    served_instead: dict[str, bytes] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    knows_ranges: bool = True
    starts: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)
    url: str = ""

    def page(self, project: str) -> bytes:
        lines = [
            f'<a href="../../files/{name}#sha256={hashlib.sha256(content).hexdigest()}">{name}</a>'
            for name, content in self.wheels.items()
            if name.startswith(f"{project}-")
        ]
        return ("<!DOCTYPE html><html><body>" + "".join(lines) + "</body></html>").encode() if lines else b""

    def answer(self, path: str, authorization: str) -> tuple[int, str, bytes]:
        self.asked.append((path, authorization))
        if self.login and authorization != "Basic " + base64.b64encode(self.login.encode()).decode():
            return 401, "text/plain", b"who are you?"
        parts = urlsplit(path).path.strip("/").split("/")  # a proxy is asked for whole addresses
        if parts[0] == "files":
            content = self.served_instead.get(parts[-1]) or self.wheels.get(parts[-1], b"")
            return (200 if content else 404), "application/octet-stream", content
        content = self.page(parts[-1])
        return (200 if content else 404), "text/html", content

    def part(self, status: int, content: bytes, span: str) -> tuple[int, bytes, dict[str, str]]:
        """Of a file that was asked for with this Range header: status, what is left of it, further headers."""
        start = int(span.removeprefix("bytes=").removesuffix("-") or 0)
        self.starts.append(start)
        if self.refusals:
            return self.refusals.pop(0), b"", {}
        if status != 200 or not span or not self.knows_ranges:
            return status, content, {}
        if start >= len(content):
            return 416, b"", {"Content-Range": f"bytes */{len(content)}"}
        return 206, content[start:], {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}

    def url_with(self, login: str) -> str:
        """The index's address as a user writes it, password and all."""
        return self.url.replace("://", f"://{login}@") + "/simple"


@contextmanager
def running(index: Index) -> Iterator[Index]:
    """The index over HTTP."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, kind, content = index.answer(self.path, self.headers.get("Authorization", ""))
            is_file, further = "/files/" in self.path, dict[str, str]()
            if is_file:
                status, content, further = index.part(status, content, self.headers.get("Range", ""))
            self.send_response(status)
            for name, value in further.items():
                self.send_header(name, value)
            if status == 401:
                self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if is_file and content and index.cuts:
                content = content[: index.cuts.pop(0)]
                self.close_connection = True
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    index.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
