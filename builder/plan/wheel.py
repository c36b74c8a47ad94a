"""A wheel as locks name it: by its file and the hash of its bytes, never by where it is fetched from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from builder.oci.digest import Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedWheel:
    """A wheel file by name and content: ``sha256`` is the hex hash of the file, ``size`` its bytes."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256) or "/" in self.filename:
            raise ValueError(f"not a wheel file: {self.filename!r} {self.sha256!r}")
        name, version = parse_wheel_filename(self.filename)[:2]  # raises a ValueError
        if (canonicalize_name(self.name), Version(self.version)) != (name, version):
            raise ValueError(f"{self.filename!r} is not {self.name} {self.version}")

    @property
    def digest(self) -> Digest:
        """Under which the store keeps the file."""
        return Digest.from_hex(self.sha256)

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "version": self.version,
            "filename": self.filename,
            "sha256": self.sha256,
            "size": self.size,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LockedWheel:
        """The inverse of ``to_json``; KeyError, TypeError or ValueError for anything else."""
        if not isinstance(value["size"], int) or isinstance(value["size"], bool) or value["size"] < 0:
            raise TypeError(f"not a size in bytes: {value['size']!r}")
        texts = {name: str(value[name]) for name in ("name", "version", "filename", "sha256")}
        return cls(**texts, size=value["size"])
