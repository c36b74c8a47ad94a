"""A wire between a client and a server that is cut after so many bytes: for servers that cannot be scripted."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress


@contextmanager
def cutting_wire(port: int, cuts: Sequence[tuple[int, int]]) -> Iterator[int]:
    """Listens on a port of this machine and joins each connection with ``port``. ``cuts``: bytes to and from the server
    after which one connection is cut; each is used once, in order, by the connection that first gets there."""
    left = list(cuts)
    lock = threading.Lock()

    def pump(source: socket.socket, target: socket.socket, way: int) -> None:
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 << 16):
                passed += len(data)
                with lock:
                    if left and passed >= left[0][way] > 0:
                        left.pop(0)
                        break
                target.sendall(data)
        for side in (source, target):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def serve() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                server = socket.create_connection(("127.0.0.1", port))
                for source, target, way in ((client, server, 0), (server, client, 1)):
                    threading.Thread(target=pump, args=(source, target, way), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
