"""What the http server adds to an image: defaults that agree with the server's own, and files without leftovers."""

from __future__ import annotations

from builder.model.server_settings import ServerSettings
from builder.serve.settings import Settings
from builder.servers.http import HttpServer


def test_the_defaults_of_model_yaml_are_those_of_the_server() -> None:
    said, own = ServerSettings(), Settings()
    assert (said.grace_seconds, said.max_body_bytes, said.threads, said.processes, said.queue) == (
        own.grace,
        own.max_body,
        own.threads,
        own.processes,
        own.queue,
    )


def test_the_servers_files_are_source_and_pages_only() -> None:
    paths = [file.path for file in HttpServer().files()]
    assert {path.suffix for path in paths} <= {".py", ".html", ".css", ".js", ".json", ".svg"}
    assert any(path.name == "__main__.py" for path in paths)
    assert not [path for path in paths if "__pycache__" in path.parts]
