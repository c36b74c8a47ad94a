"""Finds the files that ship with mbuild: ``templates/`` and ``base-images/`` at the top of a checkout, or the copies
of them inside an installed wheel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def _shipped(name: str) -> Path:
    installed = _PACKAGE / "_resources" / name
    return installed if installed.is_dir() else _PACKAGE.parent / name


def package_directory() -> Path:
    """mbuild's own code."""
    return _PACKAGE


def templates_directory() -> Path:
    """The directory of jinja2 texts."""
    return _shipped("templates")


def base_images_directory() -> Path:
    """The directory with one folder per base image (``image.yaml``, ``image.lock``, ``keyring/``)."""
    return _shipped("base-images")


def own_locks_directory(environ: Mapping[str, str]) -> Path:
    """The user's own locks of bases that ship without one: MBUILD_BASES, else ``mbuild/bases`` in XDG_CONFIG_HOME, else
    in ``~/.config``."""
    if chosen := environ.get("MBUILD_BASES"):
        return Path(chosen).expanduser().absolute()
    config = environ.get("XDG_CONFIG_HOME")
    return (Path(config) if config else Path.home() / ".config") / "mbuild" / "bases"


def server_source_directory() -> Path:
    """The minimal HTTP server's own source, copied into images."""
    return _PACKAGE / "serve"


def worker_source(name: str) -> Path:
    """The single file ``builder/convert/workers/NAME.py``, run inside an isolated environment."""
    return _PACKAGE / "convert" / "workers" / f"{name}.py"


def schema_file(name: str) -> Path:
    """A JSON Schema that ships with mbuild, ``builder/schemas/NAME.schema.json``."""
    return _PACKAGE / "schemas" / f"{name}.schema.json"


def data_file(name: str) -> Path:
    """Another file of ``builder/schemas/``."""
    return _PACKAGE / "schemas" / name
