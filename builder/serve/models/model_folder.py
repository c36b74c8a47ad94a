"""A model's folder in the image: what mbuild wrote there, read without trust in it.

``NAME/mbuild.json`` (optional) names the tensors; ``NAME/VERSION/model.onnx`` is the graph, of the highest version;
a plain model has ``interface.json`` in its place, with the files that its steps need;
``NAME/golden/*.npz`` are cases with arrays ``input:TENSOR`` and ``output:TENSOR``.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..protocol.tensors import DTYPES, Array, Tensor

SCHEMA = 1


class ModelUnusable(Exception):
    """The model cannot be served; the message is one sentence for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Golden:
    name: str
    inputs: dict[str, Array]
    outputs: dict[str, Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFolder:
    path: Path
    name: str
    version: str
    manifest: dict[str, Any] = field(default_factory=dict)

    @property
    def graph(self) -> Path:
        return self.path / self.version / "model.onnx"

    @property
    def interface(self) -> Path:
        return self.path / self.version / "interface.json"

    @property
    def description(self) -> str:
        return str(self.manifest.get("description") or "")

    @property
    def settings(self) -> dict[str, Any]:
        settings = self.manifest.get("settings")
        return settings if isinstance(settings, dict) else {}

    def most(self, dim: int | str) -> int:
        """The largest size of a dynamic dim; 0 where nothing bounds it."""
        bounds = self.settings.get("dims")
        most = bounds.get(dim) if isinstance(bounds, dict) else None
        return most if type(most) is int and most > 0 else 0

    def tolerance(self, output: str) -> tuple[float, float] | None:
        """Absolute and relative, as agreed on for this output; None where the manifest does not say."""
        agreed = self.manifest.get("tolerance")
        try:
            if agreed is None:
                return None
            agreed = agreed.get("outputs", {}).get(output, agreed)
            return float(agreed["absolute"]), float(agreed["relative"])
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelUnusable(f"{self.path / 'mbuild.json'}: tolerance is not as expected: {error}.") from None

    def graph_name(self, kind: str, public: str) -> str:
        """The graph's name for a tensor; ``kind`` is inputs or outputs."""
        renames = self.manifest.get("renames")
        names = renames.get(kind) if isinstance(renames, dict) else None
        return str(names.get(public, public)) if isinstance(names, dict) else public

    def declared(self, kind: str) -> list[Tensor] | None:
        """The manifest's tensors, or None where it does not say."""
        signature = self.manifest.get("signature")
        if signature is None:
            return None
        try:
            return [
                Tensor(
                    name=str(entry["name"]),
                    graph_name=self.graph_name(kind, str(entry["name"])),
                    datatype=str(entry["datatype"]),
                    shape=tuple(dim if type(dim) is int and dim >= 0 else str(dim) for dim in entry["shape"]),
                )
                for entry in signature[kind]
            ]
        except (KeyError, TypeError) as error:
            raise ModelUnusable(f"{self.path / 'mbuild.json'}: signature.{kind} is not as expected: {error}.") from None

    def golden_files(self) -> list[Path]:
        """The golden cases, by name."""
        return sorted((self.path / "golden").glob("*.npz"), key=lambda path: path.stem)

    def golden(self) -> Golden | None:
        """The smallest case, which is enough to warm up with and to show."""
        path = min(self.golden_files(), key=lambda each: (each.stat().st_size, each.name), default=None)
        return self.case(path) if path else None

    def case(self, path: Path) -> Golden:
        """One of ``golden_files``; numpy never unpickles it. Raises ModelUnusable."""
        sides: dict[str, dict[str, Array]] = {"input": {}, "output": {}}
        try:
            with np.load(path, allow_pickle=False) as members:
                for member in members.files:
                    side, _, name = member.partition(":")
                    if side in sides:
                        sides[side][name] = _as_served(members[member])
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise ModelUnusable(f"The golden case {path} cannot be read: {error}.") from None
        return Golden(name=path.stem, inputs=sides["input"], outputs=sides["output"])


def _as_served(array: Array) -> Array:
    """Strings, which cases keep at a fixed width, as objects (what is no text as bytes); types that only carry bits
    (bfloat16) as uint16."""
    if array.dtype.kind == "S":
        strings = np.empty(array.shape, object)
        strings.ravel()[:] = [_text(item) for item in array.ravel().tolist()]
        return strings
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:
        return array.view(DTYPES["BF16"])
    return array


def _text(item: bytes) -> str | bytes:
    try:
        return item.decode()
    except UnicodeDecodeError:
        return item


def model_names(folder: Path) -> list[str]:
    """The folders in it. Raises ModelUnusable where the place cannot be read."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise ModelUnusable(f"The models folder {folder} (MBUILD_MODELS) cannot be read: {error.strerror}.") from None


def find_models(folder: Path, wanted: Sequence[str] = ()) -> list[ModelFolder]:
    """The models of these names (none: all) with those that they stand around, by name. Raises ModelUnusable where one
    of them is not there or has no version folder."""
    names, found = model_names(folder), dict[str, ModelFolder]()
    waiting = list(wanted or names)
    while waiting:
        name = waiting.pop()
        if name not in names:
            raise ModelUnusable(f"There is no model '{name}' in {folder}; there is {', '.join(names) or 'none'}.")
        if name not in found:
            found[name] = _open(folder / name)
            waiting += [inner for inner in (_tensors_name(found[name]),) if inner in names]
    return [found[name] for name in sorted(found)]


def _tensors_name(model: ModelFolder) -> str:
    """The model that a plain one stands around; what is wrong with interface.json is told when it is loaded."""
    if model.graph.is_file():
        return ""
    try:
        return str(json.loads(model.interface.read_bytes())["tensors"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _open(path: Path) -> ModelFolder:
    versions = [entry.name for entry in path.iterdir() if entry.name.isdigit() and entry.is_dir()]
    if not versions:
        raise ModelUnusable(f"{path} has no version folder such as {path / '1'} with a model.onnx.")
    found = ModelFolder(path=path, name=path.name, version=max(versions, key=int), manifest=_manifest(path))
    if not found.graph.is_file() and not found.interface.is_file():
        raise ModelUnusable(f"{found.graph} is missing.")
    return found


def _manifest(path: Path) -> dict[str, Any]:
    file = path / "mbuild.json"
    if not file.exists():
        return {}
    try:
        manifest = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelUnusable(f"{file} cannot be read: {error}.") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise ModelUnusable(f"{file} is not of schema {SCHEMA}, the one this server knows.")
    return manifest
