"""What stands around a graph so that people can call it: from text, image files or a user's own inputs to its tensors,
and from its outputs to embeddings, labels or a user's own outputs.

``interface.json`` names the steps (docs/plain.md). The same files run in the server and, when the image is built, in
the reference environment, so that what is proven there is what is served; they import nothing of either. A step's
library (tokenizers, Pillow) is imported when the step is opened, and only then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from .arrays import DTYPES, Array, as_declared, empty
from .faults import InputRefused, StepBroken, StepFailed

SCHEMA = 1
FILE = "interface.json"
_BEFORE = {
    "tokenize": ("text", "Tokenize"),
    "image": ("image", "Decode"),
    "handler": ("user_code", "Preprocess"),
    "pass": ("passing", "Feed"),
}
_AFTER = {
    "classify": ("labels", "Classify"),
    "tokens": ("labels", "Tokens"),
    "handler": ("user_code", "Postprocess"),
    "pass": ("passing", "Give"),
}
Graph = Callable[[dict[str, Array], list[str]], list[Array]]
"""Runs the graph: feeds by its own names, the outputs that are wanted, the outputs."""


class Interface:
    """The two steps, opened. ``run`` may be called from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises StepBroken with one sentence."""
        self.value = _read(folder / FILE)
        try:
            self.inputs: list[dict[str, Any]] = self.value["inputs"]
            self.outputs: list[dict[str, Any]] = self.value["outputs"]
            before, after = self.value["before"], self.value["after"]
            self._before = _opened(_BEFORE, before, folder, offsets=after["step"] == "tokens")
            self._after = _opened(_AFTER, after, folder)
        except (KeyError, TypeError) as error:
            raise StepBroken(f"{folder / FILE} is not as expected: {type(error).__name__} {error}.") from error
        self.takes_images = before["step"] == "image"
        self.labels: list[str] = after.get("labels", [])
        self._dtypes = {each["name"]: DTYPES[each["datatype"]] for each in self.outputs}

    def run(self, inputs: dict[str, Array], graph: Graph) -> dict[str, Array]:
        """The outputs for ``inputs``, both by the names that clients see. Raises InputRefused, StepFailed, and what
        ``graph`` raises."""
        if self._before.batched and not all(array.size for array in inputs.values()):
            return {each["name"]: empty(each) for each in self.outputs}
        feeds, notes = self._before.feeds(inputs)
        wanted: list[str] = self._after.wanted
        results = dict(zip(wanted, graph(feeds, wanted), strict=True))
        found = self._after.outputs(results, inputs, notes)
        return {name: as_declared(name, dtype, found) for name, dtype in self._dtypes.items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise StepBroken(f"{file} cannot be read: {error}.") from None
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise StepBroken(f"{file} is not of schema {SCHEMA}, the one this server knows.")
    return value


def _opened(known: dict[str, tuple[str, str]], said: dict[str, Any], folder: Path, **more: object) -> Any:
    if said["step"] not in known:
        raise StepBroken(f"{folder / FILE} names the step {said['step']!r}; there are {', '.join(known)}.")
    module, name = known[said["step"]]
    if "file" in said and not (folder / said["file"]).is_file():
        raise StepBroken(f"{folder / said['file']} is missing.")
    try:
        step = getattr(import_module(f".{module}", __name__), name)
    except ImportError as error:
        raise StepBroken(f"The step {said['step']} needs {error.name}, which cannot be imported.") from error
    return step(said, folder, **more)


__all__ = ["Array", "InputRefused", "Interface", "StepBroken", "StepFailed"]
