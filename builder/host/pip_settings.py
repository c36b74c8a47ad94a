"""What the user has told pip: indexes, find-links, proxy, certificates.

uv does not read pip's configuration, and many machines that sit behind a company's index are configured for pip alone.
So its files and PIP_* variables are read here, as pip reads them (pip documentation, "Configuration": global, user,
site, PIP_CONFIG_FILE, then the environment; ``[install]`` over ``[global]``). pip itself need not be installed.
Refuses nothing: a file that cannot be read or parsed counts as empty, since pip tells its user about it better.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

_SECTIONS = ("global", "install")


def read_pip_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """All of pip's settings on this machine, by option name (``index-url``), lists as white-space separated text."""
    return merge_pip_settings((text for path in config_files(environ) if (text := _text(path))), environ)


def merge_pip_settings(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """Settings of the given configuration texts, a later one winning, and of the environment, which wins over all."""
    sections: dict[str, dict[str, str]] = {name: {} for name in _SECTIONS}
    for text in texts:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        for name in _SECTIONS:
            if parser.has_section(name):
                sections[name] |= {key.replace("_", "-"): value.strip() for key, value in parser.items(name)}
    settings = sections["global"] | sections["install"]
    for name, value in environ.items():
        if name.startswith("PIP_") and name != "PIP_CONFIG_FILE":
            settings[name.removeprefix("PIP_").lower().replace("_", "-")] = value
    return settings


def config_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """Where pip looks, weakest first. PIP_CONFIG_FILE=/dev/null (or NUL) switches all of them off."""
    chosen = environ.get("PIP_CONFIG_FILE", "")
    if chosen == os.devnull:
        return ()
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    if sys.platform == "win32":
        found = _windows(environ)
    else:
        found = _posix(environ, home)
    site = Path(sys.prefix, "pip.ini" if sys.platform == "win32" else "pip.conf")
    return (*found, site, *([Path(chosen)] if chosen else []))


def _posix(environ: Mapping[str, str], home: Path | None) -> tuple[Path, ...]:
    shared = [Path(root, "pip", "pip.conf") for root in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if root]
    shared.append(Path("/etc/pip.conf"))
    if sys.platform == "darwin":
        shared = [Path("/Library/Application Support/pip/pip.conf")]
    if home is None:
        return tuple(shared)
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    mac = home / "Library" / "Application Support" / "pip"
    user = mac if sys.platform == "darwin" and mac.is_dir() else config / "pip"
    return (*shared, home / ".pip" / "pip.conf", user / "pip.conf")


def _windows(environ: Mapping[str, str]) -> tuple[Path, ...]:
    roots = (
        (environ.get("PROGRAMDATA"), "pip"),
        (environ.get("USERPROFILE"), "pip"),
        (environ.get("APPDATA"), "pip"),
    )
    return tuple(Path(root, folder, "pip.ini") for root, folder in roots if root)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
