"""Golden files: what a person reads (or a machine gets) as it was when somebody last looked at it and agreed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

DIRECTORY = Path(__file__).resolve().parents[1] / "golden"


@dataclass(frozen=True)
class Golden:
    """``golden(name, text)`` compares with ``tests/golden/name``; ``--update-goldens`` writes it instead."""

    update: bool

    def __call__(self, name: str, text: str) -> None:
        path = DIRECTORY / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            return
        if not path.exists():
            pytest.fail(f"there is no tests/golden/{name}: run `make golden` and look at it")
        assert text == path.read_text(), f"differs from tests/golden/{name}; if it is right, run `make golden`"
