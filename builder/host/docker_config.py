"""Where the ``docker`` command keeps what its user set: logins, helpers that keep them, the current context."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def docker_config(environ: Mapping[str, str]) -> Path:
    """``config.json`` of the directory that DOCKER_CONFIG names, else of ``.docker`` in the home directory."""
    directory = environ.get("DOCKER_CONFIG")
    return Path(directory or Path(environ.get("HOME") or Path.home(), ".docker"), "config.json")
