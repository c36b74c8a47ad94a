"""What a server does not need is not in its memory, and whoever needs it gets it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support.certificates import make_certificate
from tests.support.onnx_models import mlp, place
from tests.support.server_env import server_python
from tests.support.servers import running

_WHOLE_AGAIN = """
import sys
from mbuild_serve.lean import import_asyncio_without_tls
from mbuild_serve.steps.whole_asyncio import give_asyncio_tls

import_asyncio_without_tls()
assert "ssl" not in sys.modules
import asyncio
give_asyncio_tls()
give_asyncio_tls()
import ssl

certificate, key = sys.argv[1:]
here = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
here.load_cert_chain(certificate, key)
there = ssl.create_default_context(cafile=certificate)


async def main():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=here)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=there, server_hostname="localhost")
    writer.write(b"hello\\n")
    assert await reader.readline() == b"HELLO\\n"
    writer.close()


asyncio.run(main())
"""


def test_a_server_without_tls_has_no_openssl(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path / "models", "mlp", mlp())
    with running(server_source, tmp_path / "models") as server:
        server.event("ready")
        assert "libssl" not in Path(f"/proc/{server.process.pid}/maps").read_text()


def test_user_code_gets_asyncio_whole(server_source: Path, tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    command = [str(server_python()), "-c", _WHOLE_AGAIN, str(made.certificate), str(made.key)]
    done = subprocess.run(command, cwd=server_source, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
