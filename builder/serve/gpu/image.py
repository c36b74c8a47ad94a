"""What the image is for: ``gpu.json``, which mbuild wrote beside the GPU's libraries."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from ..starting import CannotStart

SCHEMA = 1

Capability = tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuImage:
    """``cuda`` is what its libraries are built with, ``driver`` the oldest that runs them; ``capabilities`` are those
    with compiled code, as written, and ``ptx`` the newest with code that a driver can compile for newer GPUs.
    ``plugin`` is the library below site-packages that has the provider, empty where onnxruntime itself has it."""

    target: str
    provider: str
    cuda: tuple[int, int]
    driver: str
    capabilities: tuple[str, ...]
    ptx: str
    plugin: str = ""

    @classmethod
    def read(cls, file: Path) -> GpuImage:
        """Raises CannotStart."""
        try:
            value = json.loads(file.read_bytes())
            if value["schema"] != SCHEMA:
                raise CannotStart(f"{file} is not of schema {SCHEMA}, the one this server knows.")
            major, minor = _pair(value["cuda"])
            return cls(
                target=str(value["target"]),
                provider=str(value["provider"]),
                cuda=(major, minor),
                driver=str(value["driver"]),
                capabilities=tuple(map(str, value["capabilities"])),
                ptx=str(value["ptx"]),
                plugin=str(value.get("plugin", "")),
            )
        except OSError as error:
            raise CannotStart(f"{file} cannot be read: {error.strerror}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CannotStart(f"{file} is not as expected: {type(error).__name__}: {error}.") from error

    @property
    def cuda_text(self) -> str:
        return ".".join(map(str, self.cuda))

    def has_code_for(self, capability: Capability) -> bool:
        """Compiled code runs on its own and later minor versions of one major version; what is for exactly one
        capability (``9.0a``) on that one only (CUDA C++ Programming Guide, "Binary Compatibility")."""
        return any(_runs(text, capability) for text in self.capabilities)

    def compiles_for(self, capability: Capability) -> bool:
        """PTX runs on everything newer, compiled by the driver."""
        return bool(self.ptx) and not _is_exact(self.ptx) and _pair(self.ptx) <= capability


def _runs(text: str, capability: Capability) -> bool:
    major, minor = _pair(text)
    if _is_exact(text):
        return (major, minor) == capability
    return major == capability[0] and minor <= capability[1]


def _is_exact(text: str) -> bool:
    return text[-1:].isalpha()


def _pair(text: str) -> tuple[int, int]:
    found = re.match(r"(\d+)\.(\d+)", str(text))
    if found is None:
        raise ValueError(f"{text!r} is no version such as 9.0")
    return int(found[1]), int(found[2])
