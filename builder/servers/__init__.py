"""The servers that an image can carry. One file and one entry in ``SERVERS`` for each."""

from __future__ import annotations

from builder.errors import UsageError
from builder.servers.http import HttpServer
from builder.servers.server import PackedModel, PackedPlain, Server, tensors_name
from builder.servers.triton import TritonServer
from builder.servers.triton_upstream import UpstreamTriton


class UnknownServer(UsageError):
    code = "unknown-server"
    message = "there is no server {name!r}"
    hint = "this version of mbuild packs: {known}"


SERVERS: dict[str, Server] = {"http": HttpServer(), "triton": TritonServer()}


_OF_OTHERS: dict[str, Server] = {"triton": UpstreamTriton()}


def find_server(name: str, *, on_upstream: bool = False) -> Server:
    """The server of that name, on a base of ours or ``on_upstream``, one of others; raises UnknownServer."""
    if name not in SERVERS:
        raise UnknownServer(name=name, known=", ".join(SERVERS))
    return _OF_OTHERS.get(name, SERVERS[name]) if on_upstream else SERVERS[name]


__all__ = ["SERVERS", "PackedModel", "PackedPlain", "Server", "find_server", "tensors_name"]
