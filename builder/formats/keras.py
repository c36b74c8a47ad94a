"""Keras models: .keras archives and legacy .h5 files, read without Keras.

An .h5 file is a model only where it has a ``model_config``; weights alone are named as such. Read from the config are
the version that wrote it, and the code that it holds or asks for: Lambda layers are marshalled Python, and a custom
layer is a name whose code is elsewhere. What a model was compiled with is not looked at: it is loaded uncompiled.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from builder.errors import UnsupportedModel
from builder.formats.hdf5 import UnreadableHdf5, root_attributes
from builder.formats.known import HDF5, KERAS, KERAS_HDF5, Sighting
from builder.model.source import Detection, ModelSource

_MAX_CONFIG = 64 << 20
_RUNS_CODE = frozenset({"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"})
"""Layers of Keras itself that bring a function, a graph or a pickle of their own."""
_OUTWARD = re.compile(
    r"(^|\.)(py_func\w*|numpy_function|io|gfile|load_\w+|saved_model|train|data|summary|print|raw_ops|function|lookup"
    r"|Session|app|profiler|lite|keras|estimator|queue|distribute|config|autograph|test|experimental|debugging)(\.|$)"
)
"""Symbols of TensorFlow that reach files or code; Keras 2 calls any by its name (TFOpLambda)."""


class KerasUnreadable(UnsupportedModel):
    code = "keras-unreadable"
    message = "{path} cannot be read without loading it: {reason}"
    hint = "it was cut off, or is not as Keras writes it; load it and save it again: model.save('model.keras')"


class KerasWeightsAlone(UnsupportedModel):
    code = "keras-weights-alone"
    message = "{path} is an HDF5 file without model_config: weights, perhaps, but not the model that computes with them"
    hint = "save the whole model instead of its weights: model.save('model.keras')"


class KerasCustomObjects(UnsupportedModel):
    code = "keras-custom-objects"
    message = "{path} needs code that is not in it: {names}"
    hint = "model.export('saved_model') writes a TensorFlow SavedModel, which has all operations and needs no code"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Config:
    version: str
    model: Any


class KerasFormat:
    """See the module."""

    name = "keras"
    summary = "Keras: a .keras file, or an .h5 file of model.save"
    kinds = (KERAS, KERAS_HDF5, HDF5)

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(self._detect(source, sightings))

    def _detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> Iterator[Detection]:
        for sighting in sightings:
            if sighting.kind not in self.kinds:
                continue
            try:
                config = _read(source, sighting.path)
            except KerasUnreadable:
                if sighting.kind is HDF5:
                    continue
                config = _Config(version="", model={})  # a model, and found broken when it is read
            except KerasWeightsAlone:
                continue
            wrote = (("keras", config.version),) if config.version else ()
            yield Detection(format=self.name, entry=sighting.path, evidence=(str(sighting),), versions=wrote)


def code_in_config(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """Layers that hold code, with what that code names. Raises KerasUnreadable, and KerasCustomObjects for code that
    the file does not hold."""
    model = _read(source, found.entry).model
    parts = tuple(_parts(model))
    runs: dict[str, str] = {}
    for layer, part in parts:
        told = _own_code(layer, part)
        if told:
            runs.setdefault(layer, told)
    if runs:
        return tuple(runs.values())
    custom = dict.fromkeys(name for _, part in parts if (name := _custom(part)))
    if custom:
        raise KerasCustomObjects(path=found.entry, names=", ".join(custom))
    return ()


def _read(source: ModelSource, path: PurePosixPath) -> _Config:
    """Raises KerasUnreadable or KerasWeightsAlone."""
    place = source.locate(path)
    try:
        if zipfile.is_zipfile(place):
            with zipfile.ZipFile(place) as archive:
                version = json.loads(_member(archive, "metadata.json")).get("keras_version", "")
                model = json.loads(_member(archive, "config.json"))
                return _Config(version=str(version), model={**model, "compile_config": None})
        with place.open("rb") as file:
            attributes = root_attributes(file)
        if "model_config" not in attributes:
            raise KerasWeightsAlone(path=path)
        return _Config(version=attributes.get("keras_version", ""), model=json.loads(attributes["model_config"]))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, OSError, EOFError) as error:
        raise KerasUnreadable(path=path, reason=error) from error
    except (UnreadableHdf5, RecursionError, NotImplementedError) as error:
        raise KerasUnreadable(path=path, reason=error) from error


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as member:
        content = member.read(_MAX_CONFIG + 1)
    if len(content) > _MAX_CONFIG:
        raise ValueError(f"its {name} is too large")
    return content


def _parts(model: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the config that has a class, with the name of the layer that it is in."""
    waiting = [("", model)]
    while waiting:
        layer, value = waiting.pop()
        if isinstance(value, dict):
            own = value.get("config")
            layer = str(own["name"]) if isinstance(own, dict) and own.get("name") else layer
            if isinstance(value.get("class_name"), str):
                yield layer, value
            waiting += [(layer, inner) for inner in reversed(value.values())]
        elif isinstance(value, list):
            waiting += [(layer, inner) for inner in reversed(value)]


def _own_code(layer: str, part: dict[str, Any]) -> str:
    """What it would run, in words; empty for a harmless part."""
    kind, own = part["class_name"].rpartition(">")[2], part.get("config")
    if kind in _RUNS_CODE:
        names = list(dict.fromkeys(_callables(own)))[:8]
        return f"the {kind} layer {layer!r}" + (f" ({', '.join(names)})" if names else "")
    if kind == "__lambda__":
        return f"a lambda in the layer {layer!r} ({', '.join(list(dict.fromkeys(_callables(own)))[:8])})"
    if kind in ("TFOpLambda", "ClassMethod", "InstanceMethod") and isinstance(own, dict):
        symbol = str(own.get("function") or own.get("cls_symbol") or own.get("cls_name") or "")
        return f"the layer {layer!r} (tf.{symbol})" if _OUTWARD.search(symbol) else ""
    return ""


def _callables(value: Any) -> Iterator[str]:
    """What the code in a config names: functions by name, and the texts inside marshalled code."""
    if isinstance(value, dict):
        if value.get("class_name") == "function" and isinstance(value.get("config"), str):
            yield f"{value.get('module')}.{value['config']}"
        for key, inner in value.items():
            if key == "function" and isinstance(inner, str):
                yield inner
            elif key in ("function", "config", "code", "value", "filepath", "call_fn", "init_fn"):
                yield from _callables(inner)
    elif isinstance(value, list):
        for inner in value[:1]:  # code, defaults, closure
            yield from _callables(inner)
    elif isinstance(value, str):
        yield from _texts_of_code(value)


_SHORT = re.compile(rb"[zZ\xda\xfa](.)", re.DOTALL)
"""Short texts of ASCII in marshalled code: their type, with or without a mark, and one byte of length (marshal.c)."""


def _texts_of_code(text: str) -> Iterator[str]:
    try:
        code = base64.b64decode(text, validate=False)
    except (binascii.Error, ValueError):
        return
    for match in _SHORT.finditer(code):
        content = code[match.end() : match.end() + match[1][0]]
        if len(content) == match[1][0] > 1 and re.fullmatch(rb"[\x20-\x7e]+", content):
            name = content.decode()
            if not (name.startswith("<") or name.endswith(".py")):
                yield name


def _custom(part: dict[str, Any]) -> str:
    """The name of a class or function that is not Keras's own; empty for its own."""
    kind, own, module = part["class_name"], part.get("config"), part.get("module", "keras")
    if kind == "function" and isinstance(own, str):
        return own if ">" in own else ""
    if ">" in kind or (module is None and not kind.startswith("__")):
        return str(part.get("registered_name") or kind)
    root = str(module).partition(".")[0]
    return "" if root in ("keras", "tf_keras", "builtins", "None") else f"{module}.{kind}"
