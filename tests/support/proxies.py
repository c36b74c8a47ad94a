"""A forward proxy in this process: absolute URLs and CONNECT, to names that only it knows."""

from __future__ import annotations

import base64
import select
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """``names``: host:port as clients write it, and the port of this machine behind it. ``seen``: the request lines;
    ``headers``: all that came with them. With ``login`` (user:password) nobody else is let through."""

    names: Mapping[str, int]
    login: str = ""
    port: int = 0
    seen: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        login = f"{self.login}@" if self.login else ""
        return f"http://{login}127.0.0.1:{self.port}"


@contextmanager
def forward_proxy(names: Mapping[str, int], login: str = "") -> Iterator[Proxy]:
    """Runs while the block does."""
    proxy = Proxy(names, login)

    class Handler(StreamRequestHandler):
        rbufsize = 0  # what follows the head is the body, and not ours

        def handle(self) -> None:
            _serve(self, proxy)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield proxy
        server.shutdown()


def _serve(client: StreamRequestHandler, proxy: Proxy) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = client.rfile.readline()
        if not line:
            return
        head += line
    first, *lines = head.decode().rstrip().split("\r\n")
    proxy.seen.append(first)
    proxy.headers += lines
    verb, target, version = first.split(" ")
    expected = f"Proxy-Authorization: Basic {base64.b64encode(proxy.login.encode()).decode()}"
    name = target if verb == "CONNECT" else urlsplit(target).netloc
    if (proxy.login and expected not in lines) or name not in proxy.names:
        client.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        return
    with socket.create_connection(("127.0.0.1", proxy.names[name])) as server:
        if verb == "CONNECT":
            client.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            kept = [line for line in lines if not line.lower().startswith(("proxy-", "connection:"))]
            server.sendall("\r\n".join([f"{verb} {path} {version}", *kept, "Connection: close", "", ""]).encode())
        _join(client.connection, server)


def _join(one: socket.socket, other: socket.socket) -> None:
    """Both ways, until one side has ended."""
    while True:
        readable, _, _ = select.select([one, other], [], [], 30)
        if not readable:
            return
        for side in readable:
            data = side.recv(1 << 16)
            if not data:
                return
            (other if side is one else one).sendall(data)
