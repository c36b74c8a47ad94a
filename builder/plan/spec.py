"""``BuildSpec``: what the user asked for, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from builder.oci.platform import Platform
from builder.oci.reference import Reference


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildSpec:
    """One model for one target.

    ``base`` replaces the target's own base image; ``lock`` is the lock's path; ``locked`` forbids any change to it.
    """

    model: Path
    target: str
    server: str
    platform: Platform
    base: Reference | None
    lock: Path
    locked: bool
