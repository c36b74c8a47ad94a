"""What ``mbuild doctor`` says of an index and a mirror that answer, refuse, or say nothing at all."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builder.doctor import Finding, Verdict, examine
from tests.support.hosts import real_host


class Everything(BaseHTTPRequestHandler):
    """A mirror that has every file."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1")
        self.end_headers()
        self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def mirror() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Everything) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def nobody() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def look(tmp_path: Path, index: str, mirror: str) -> dict[str, Finding]:
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "DOCKER_HOST": "unix:///nonexistent",
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_CONFIG": "1",
        "PIP_INDEX_URL": f"{index}/simple",
        "MBUILD_DEBIAN_MIRROR": f"{mirror}/debian",
        "MBUILD_DEBIAN_SNAPSHOT": mirror,
    }
    return {finding.name: finding for finding in examine(real_host(tmp_path / "cache", environ))}


def test_who_answers_is_named(tmp_path: Path, mirror: str, nobody: str) -> None:
    found = look(tmp_path, nobody, mirror)
    assert found["mirror"].verdict is Verdict.OK
    assert found["mirror"].seen.startswith(f"{mirror}/debian has ")
    assert found["index"].verdict is Verdict.MISSING
    assert "HTTPS_PROXY" in found["index"].mend


def test_nobody_is_waited_for_longer_than_five_seconds(tmp_path: Path, silent: str) -> None:
    host = real_host(tmp_path)
    began = host.clock.monotonic()
    found = look(tmp_path, silent, silent)
    assert host.clock.monotonic() - began < 6.5  # five, and a slow machine
    assert (found["index"].verdict, found["mirror"].verdict) == (Verdict.MISSING, Verdict.MISSING)


def test_whoever_has_built_before_needs_neither(tmp_path: Path, nobody: str) -> None:
    for kind in ("wheels", "base"):
        (tmp_path / "cache" / "directories" / kind / "a").mkdir(parents=True)
    found = look(tmp_path, nobody, nobody)
    assert (found["index"].verdict, found["mirror"].verdict) == (Verdict.OPTIONAL, Verdict.OPTIONAL)


def test_a_cache_that_cannot_be_is_a_finding(tmp_path: Path, nobody: str) -> None:
    (tmp_path / "cache").write_text("")
    found = look(tmp_path, nobody, nobody)
    assert found["cache"].verdict is Verdict.MISSING
    assert "MBUILD_CACHE" in found["cache"].mend
    assert found["index"].verdict is Verdict.MISSING
