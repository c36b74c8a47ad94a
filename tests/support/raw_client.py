"""Bytes to a server as they are, on one connection that stays; its responses, one by one."""

from __future__ import annotations

import socket
from dataclasses import dataclass

_SECONDS = 60


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    def __init__(self, address: str) -> None:
        host, port = address.rsplit(":", 1)
        self._socket = socket.create_connection((host, int(port)), timeout=_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._read = b""

    def send(self, content: bytes) -> None:
        self._socket.sendall(content)

    def reply(self) -> Reply:
        """The next response; raises EOFError where the server has closed instead."""
        while (end := self._read.find(b"\r\n\r\n")) < 0:
            self._more()
        lines = self._read[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        whole = end + 4 + int(headers["content-length"])
        while len(self._read) < whole:
            self._more()
        body, self._read = self._read[end + 4 : whole], self._read[whole:]
        return Reply(int(lines[0].split()[1]), headers, body)

    def close(self) -> None:
        self._socket.close()

    def _more(self) -> None:
        part = self._socket.recv(1 << 20)
        if not part:
            raise EOFError(self._read)
        self._read += part


def post(path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """A whole request."""
    lines = [f"POST {path} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
