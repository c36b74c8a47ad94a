"""Asks uv which wheel files an index offers, and reads its answer.

The answer is a ``pylock.toml`` (PyPA specification "pylock.toml", 1.0). It is not kept: it holds addresses of one
machine's index. What goes into ``mbuild.lock`` is the name and the hash of the file.
"""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from builder.errors import ResolutionError
from builder.host import Host
from builder.host.uv import run_uv


class OfferUnreadable(ResolutionError):
    code = "offer-unreadable"
    message = "uv's answer about the package index cannot be read: {reason}"
    hint = "bring uv up to date (pip install --upgrade uv); mbuild reads pylock.toml 1.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """A wheel file that an index or a find-links directory has. ``sha256`` is "" and ``size`` None where it does not
    say. ``url`` may be private and is never written down."""

    name: str
    version: str
    filename: str
    url: str
    sha256: str
    size: int | None


Offers = tuple[Offer, ...]


def list_offers(requirements: tuple[str, ...], options: tuple[str, ...], host: Host) -> Offers:
    """The wheels for exactly these requirements, not for what they depend on. Raises what ``run_uv`` raises."""
    return _list(requirements, ("--no-deps", *options), host)


def list_closure(requirements: tuple[str, ...], constraints: Path, options: tuple[str, ...], host: Host) -> Offers:
    """The wheels for these requirements and all that they depend on, within ``constraints``. Raises what ``run_uv``
    raises."""
    return _list(requirements, ("--constraint", str(constraints), *options), host)


def _list(requirements: tuple[str, ...], options: tuple[str, ...], host: Host) -> Offers:
    arguments = (
        *("pip", "compile", "-", "--format", "pylock.toml", "--no-header"),
        *("--python", sys.executable),  # for nothing but to keep uv from asking every Python of the machine
        *("--only-binary", ":all:", "--generate-hashes"),
        *options,
    )
    answer = run_uv(arguments, host, stdin="\n".join(requirements).encode())
    return read_pylock(answer.stdout.decode())


def read_pylock(text: str) -> Offers:
    """All wheels of a pylock.toml. Raises OfferUnreadable."""
    try:
        packages = tomllib.loads(text).get("packages", [])
        return tuple(_offer(package, wheel) for package in packages for wheel in _wheels(package))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OfferUnreadable(reason=repr(error)) from error


def _wheels(package: dict[str, Any]) -> list[dict[str, Any]]:
    """An archive is what uv writes for a requirement that is itself a path or URL of a wheel."""
    archive = package.get("archive")
    return [archive] if archive else list(package.get("wheels", []))


def _offer(package: dict[str, Any], wheel: dict[str, Any]) -> Offer:
    address = wheel.get("url") or wheel["path"]
    path = urlsplit(address).path if "://" in address else address
    return Offer(
        name=package["name"],
        version=package["version"],
        filename=wheel.get("name") or unquote(path.replace("\\", "/").rpartition("/")[2]),
        url=address,
        sha256=wheel.get("hashes", {}).get("sha256", ""),
        size=wheel.get("size"),
    )
