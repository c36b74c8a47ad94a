"""Tensors that pass as they are, under another name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .arrays import Array


class Feed:
    """``feeds``: input of the graph, name that clients see."""

    batched = False

    def __init__(self, said: dict[str, Any], folder: Path, **_: object) -> None:
        self._feeds: dict[str, str] = said["feeds"]

    def feeds(self, inputs: dict[str, Array]) -> tuple[dict[str, Array], None]:
        return {graph: inputs[name] for graph, name in self._feeds.items()}, None


class Give:
    """``outputs``: name that clients see, output of the graph."""

    def __init__(self, said: dict[str, Any], folder: Path) -> None:
        self._outputs: dict[str, str] = said["outputs"]
        self.wanted = list(dict.fromkeys(self._outputs.values()))

    def outputs(self, results: dict[str, Array], inputs: dict[str, Array], notes: object) -> dict[str, Array]:
        return {name: results[graph] for name, graph in self._outputs.items()}
