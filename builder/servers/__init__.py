"""The servers that an image can carry. One file and one entry in ``SERVERS`` for each."""

from __future__ import annotations

from builder.errors import UsageError
from builder.servers.http import HttpServer
from builder.servers.server import PackedModel, PackedPlain, Server, tensors_name
from builder.servers.triton import TritonServer


class UnknownServer(UsageError):
    code = "unknown-server"
    message = "there is no server {name!r}"
    hint = "this version of mbuild packs: {known}"


SERVERS: dict[str, Server] = {"http": HttpServer(), "triton": TritonServer()}


def find_server(name: str) -> Server:
    """The server of that name; raises UnknownServer."""
    if name not in SERVERS:
        raise UnknownServer(name=name, known=", ".join(SERVERS))
    return SERVERS[name]


__all__ = ["SERVERS", "PackedModel", "PackedPlain", "Server", "find_server", "tensors_name"]
