"""The servers that an image can carry. One file and one entry in ``SERVERS`` for each."""

from __future__ import annotations

from builder.servers.http import HttpServer
from builder.servers.server import PackedModel, PackedPlain, Server, tensors_name
from builder.servers.triton import TritonServer
from builder.servers.triton_upstream import UpstreamTriton

SERVERS: dict[str, Server] = {"http": HttpServer(), "triton": TritonServer()}


_TRITON: dict[tuple[bool, bool], Server] = {
    (False, False): SERVERS["triton"],
    (False, True): TritonServer(on_gpu=True),
    (True, False): UpstreamTriton(),
    (True, True): UpstreamTriton(on_gpu=True),
}


def find_server(name: str, *, on_upstream: bool = False, on_gpu: bool = False) -> Server:
    """The server of that name, on a base of ours or ``on_upstream``, one of others, for a target with a GPU or without.
    KeyError for a name that no target has (``find_target`` tells users)."""
    return _TRITON[on_upstream, on_gpu] if name == "triton" else SERVERS[name]


__all__ = ["SERVERS", "PackedModel", "PackedPlain", "Server", "find_server", "tensors_name"]
