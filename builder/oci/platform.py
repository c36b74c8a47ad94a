"""The platform of an image (image-spec image-index.md): operating system, architecture, variant."""

from __future__ import annotations

import platform as _machine
import re
from dataclasses import dataclass, replace

from builder.errors import UsageError

_PART = re.compile(r"[a-z0-9_]+")
_EVERY_ONES = {("amd64", "v1"), ("arm64", "v8")}
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class MalformedPlatform(UsageError):
    code = "malformed-platform"
    message = "{text!r} is not a platform"
    hint = "write it as linux/amd64 or linux/arm64"


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Platform:
    """For example ``linux/amd64``."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/architecture[/variant]``; raises MalformedPlatform."""
        parts = text.split("/")
        if not 2 <= len(parts) <= 3 or not all(_PART.fullmatch(part) for part in parts):
            raise MalformedPlatform(text=text)
        architecture = _ARCHITECTURES.get(parts[1], parts[1])
        return cls(os=parts[0], architecture=architecture, variant=parts[2] if len(parts) == 3 else "")

    @classmethod
    def of_this_machine(cls) -> Platform:
        """The Linux platform with this machine's processor (containers on macOS and Windows are Linux too)."""
        machine = _machine.machine().lower()
        return cls(os="linux", architecture=_ARCHITECTURES.get(machine, machine))

    @property
    def normal(self) -> Platform:
        """Without the variant that every processor of the architecture has, as engines write it (containerd/platforms,
        ``Normalize``)."""
        return replace(self, variant="") if (self.architecture, self.variant) in _EVERY_ONES else self

    @property
    def slug(self) -> str:
        """For identifiers: ``linux_amd64``."""
        return str(self).replace("/", "_")

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
