"""A disk with as much room as a test wants."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest


def leave_free(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every file system say that it has ``count`` bytes left."""
    said = SimpleNamespace(f_frsize=1, f_bavail=count, f_bfree=count)
    monkeypatch.setattr(os, "statvfs", lambda _: said)
