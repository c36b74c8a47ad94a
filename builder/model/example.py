"""An example input beside the model: ``example.npz``, ``.json``, ``.png``, ``.jpg``, ``.wav`` or ``.txt``.

It says what a model takes whose own file does not (``describe``), and it becomes the golden case ``example``
(``example_case``), fitted to the signature where the file leaves something open: numbers of JSON have no datatype, an
image has no layout. What it does say is never changed; a contradiction is ExampleDisagrees.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from builder.errors import SpecError
from builder.model.cases import MAX_CASE_BYTES, misfits, read_arrays
from builder.model.example_media import decode_image, decode_sound, grey
from builder.model.golden import Array, GoldenCase
from builder.model.manifest import ModelManifest
from builder.model.problems import listing
from builder.model.protocol import TensorProblem, as_bytes_array, datatype_of, decode_tensors, dtype_of
from builder.model.signature import Datatype, Dim, Signature, TensorSpec
from builder.model.source import ModelSource

NAME = "example"
_SUFFIXES = (".npz", ".json", ".png", ".jpg", ".jpeg", ".wav", ".txt")
_BATCH = "batch"


class ExampleUnreadable(SpecError):
    code = "example-unreadable"
    message = "{path} is no example input that can be read: {reason}"
    hint = "docs/model-yaml.md shows what example.npz, .json, .png, .jpg, .wav and .txt hold"


class SeveralExamples(SpecError):
    code = "several-examples"
    message = "there are several example inputs: {paths}"
    hint = "keep one of them; further inputs are golden cases, in golden/"


class ExampleDisagrees(SpecError):
    code = "example-disagrees"
    message = "{path} does not fit the model:\n{problems}"
    hint = "the model takes {inputs}; change the example, or `inputs` in model.yaml where that is what is wrong"


class Kind(Enum):
    """What an example leaves open: nothing, the datatypes of numbers, the layout of pixels, the shape of the rest."""

    EXACT = "input"
    NUMBERS = "values"
    IMAGE = "image"
    SOUND = "samples"
    TEXT = "text"


@dataclass(frozen=True, kw_only=True)
class Example:
    """The arrays of a file by the input's name, "" where it gives none. ``content`` are its bytes."""

    path: PurePosixPath
    kind: Kind
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    content: bytes = b""


def read_example(source: ModelSource) -> Example | None:
    """The example of a directory: ``example.*`` at its top; None where there is none.

    Raises SeveralExamples or ExampleUnreadable. Nothing is unpickled."""
    found = [file.path for file in source.files if file.path.stem == NAME and file.path.suffix.lower() in _SUFFIXES]
    paths = [path for path in found if len(path.parts) == 1]
    if len(paths) > 1:
        raise SeveralExamples(paths=", ".join(map(str, paths)))
    if not paths:
        return None
    try:
        return _read(source, paths[0])
    except (TensorProblem, OSError) as error:
        raise ExampleUnreadable(path=paths[0], reason=error) from error


def describe(example: Example, arguments: tuple[str, ...] = ()) -> tuple[TensorSpec, ...]:
    """What a model takes that answers this example; ``arguments`` are the names of its call where they are known.

    The first dim is ``batch`` where all arrays share it, or all of more than one dim; other sizes are fixed. Raises
    ExampleUnreadable for arrays that no request can carry."""
    arrays = _as_requests(example, arguments)
    batch = _batch_of(arrays)
    specs = []
    for name, array in arrays.items():
        datatype = datatype_of(array) if array.dtype != np.object_ else Datatype.BYTES
        if datatype is None:
            raise ExampleUnreadable(path=example.path, reason=f"{name!r} has the type {array.dtype}")
        shape: tuple[Dim, ...] = (_BATCH, *array.shape[1:]) if name in batch else array.shape
        specs.append(TensorSpec(name=name, datatype=datatype, shape=shape))
    return tuple(specs)


def example_case(example: Example, signature: Signature, manifest: ModelManifest) -> GoldenCase:
    """The example as a golden case of a model with this signature (the names that clients see). Raises
    ExampleDisagrees."""
    served = dict(manifest.renames.inputs)
    specs = {spec.name: spec for spec in signature.inputs}
    given = _named(example, tuple(specs))
    given = {name if name in specs else served.get(name, name): array for name, array in given.items()}
    answers = {spec.name for spec in signature.outputs} - specs.keys()
    outputs = {**example.outputs, **{name: array for name, array in given.items() if name in answers}}
    inputs = {
        name: _fitted(example, array, specs[name]) if name in specs else array
        for name, array in given.items()
        if name not in answers
    }
    case = GoldenCase(name=NAME, inputs=inputs, outputs=outputs, origin=str(example.path))
    problems = misfits(case, signature, manifest)
    if problems:
        raise ExampleDisagrees(path=example.path, problems=listing(problems), inputs=_listed(signature.inputs))
    return case


def plain_example_case(example: Example, plain: Signature, manifest: ModelManifest) -> GoldenCase | None:
    """The example as a case of the plain model: a text or an image file where it takes such, or arrays by its names.
    None where it is an example of tensors. Raises ExampleDisagrees."""
    lone = plain.inputs[0]
    if len(plain.inputs) == 1 and lone.datatype is Datatype.BYTES:
        if example.kind is Kind.IMAGE:
            file = np.empty(1, np.object_)
            file[0] = example.content
            example = replace(example, kind=Kind.EXACT, inputs={lone.name: file})
        elif example.kind is Kind.TEXT:
            return example_case(example, plain, manifest)
    known = {spec.name for spec in plain.inputs}
    return example_case(example, plain, manifest) if known <= example.inputs.keys() else None


def _read(source: ModelSource, path: PurePosixPath) -> Example:
    file = source.find(path)
    if file is None or file.size > MAX_CASE_BYTES:
        raise TensorProblem(f"it is not there, or larger than {MAX_CASE_BYTES} bytes")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        inputs, outputs = read_arrays(source, path)
        return Example(path=path, kind=Kind.EXACT, inputs=inputs, outputs=outputs)
    content = source.locate(path).read_bytes()
    if suffix == ".json":
        kind, arrays = _read_json(content)
        return Example(path=path, kind=kind, inputs=arrays, outputs={})
    if suffix == ".wav":
        return Example(path=path, kind=Kind.SOUND, inputs={"": decode_sound(content)}, outputs={}, content=content)
    if suffix == ".txt":
        lines = np.array([line.encode() for line in _text(content).splitlines()], dtype=np.object_)
        return Example(path=path, kind=Kind.TEXT, inputs={"": lines}, outputs={})
    return Example(path=path, kind=Kind.IMAGE, inputs={"": decode_image(content)}, outputs={}, content=content)


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TensorProblem(f"it is not UTF-8: {error}") from error
    if not text.strip():
        raise TensorProblem("it is empty")
    return text


def _read_json(content: bytes) -> tuple[Kind, dict[str, Array]]:
    """A request of the Open Inference Protocol, {name: nested lists}, a table as pandas splits it, or lists alone."""
    try:
        value = json.loads(_text(content))
    except (ValueError, RecursionError) as error:
        raise TensorProblem(f"it is not JSON: {error}") from error
    inner = value.get("inputs") if isinstance(value, dict) else None
    if isinstance(inner, list) and inner and all(isinstance(entry, dict) and "datatype" in entry for entry in inner):
        return Kind.EXACT, decode_tensors(inner)
    if isinstance(value, dict) and len(value) == 1:  # as MLflow's scoring server takes them
        value = next((value[key] for key in ("inputs", "instances", "dataframe_split") if key in value), value)
    if isinstance(value, dict) and {"columns", "data"} <= value.keys():
        rows = value["data"]
        value = {str(name): [[row[place]] for row in rows] for place, name in enumerate(value["columns"])}
    named = value if isinstance(value, dict) else {"": value}
    return Kind.NUMBERS, {name: _array(name, nested) for name, nested in named.items()}


def _array(name: str, nested: object) -> Array:
    try:
        array = np.array(nested)
    except ValueError as error:
        raise TensorProblem(f"{name!r} has rows of different lengths") from error
    if array.dtype.kind not in "OU":
        return array
    items = np.array(nested, dtype=np.object_)
    if all(isinstance(item, str) for item in items.ravel()):
        return as_bytes_array(items)
    if not all(item is None or isinstance(item, int | float) for item in items.ravel()):
        raise TensorProblem(f"{name!r} mixes numbers and text, or holds objects")
    return items.astype(np.float64)  # null is how tables write what is missing


def _named(example: Example, names: tuple[str, ...]) -> dict[str, Array]:
    """The arrays by name; one without is that of the only input, else called after what it holds."""
    lone = names[0] if len(names) == 1 else example.kind.value
    return {name or lone: array for name, array in example.inputs.items()}


def _as_requests(example: Example, arguments: tuple[str, ...]) -> dict[str, Array]:
    """The arrays as a model would most likely want them, in the order of the call."""
    named = _named(example, arguments)
    ordered = sorted(named, key=lambda name: arguments.index(name) if name in arguments else len(arguments))
    return {name: _usual(example.kind, named[name]) for name in ordered}


def _usual(kind: Kind, array: Array) -> Array:
    if kind is Kind.IMAGE:
        return _scaled(array, np.dtype(np.float32)).transpose(2, 0, 1)[np.newaxis]
    if kind is Kind.SOUND:
        return array[np.newaxis]
    if kind is Kind.NUMBERS and array.dtype == np.float64:
        return array.astype(np.float32)
    return array


def _batch_of(arrays: Mapping[str, Array]) -> frozenset[str]:
    """The inputs whose first dim is the batch."""
    for least in (1, 2):
        names = [name for name, array in arrays.items() if array.ndim >= least]
        if len({arrays[name].shape[0] for name in names}) == 1:
            return frozenset(names)
    return frozenset()


def _fitted(example: Example, array: Array, spec: TensorSpec) -> Array:
    """The array as ``spec`` asks for it, in what the file leaves open; unchanged where that would be another value."""
    if example.kind is Kind.EXACT:
        return array
    if example.content and spec.datatype is Datatype.BYTES:  # an encoded file is what the model takes
        whole = np.empty(1, dtype=np.object_)
        whole[0] = example.content
        return _reshaped(whole, spec.shape)
    if example.kind is Kind.IMAGE:
        return _laid_out(array, spec)
    return _reshaped(_cast(array, spec.datatype), spec.shape)


def _cast(array: Array, datatype: Datatype) -> Array:
    if array.dtype == np.object_ or datatype is Datatype.BYTES:
        return array
    dtype = dtype_of(datatype)
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    if dtype.kind == "f" and array.dtype.kind in "fiu":
        return cast
    return cast if array.dtype.kind != "b" and np.array_equal(cast.astype(np.float64), array) else array


def _reshaped(array: Array, shape: tuple[Dim, ...]) -> Array:
    """With the axis that is missing: of columns at the end, else of the batch at the front."""
    if array.ndim + 1 != len(shape):
        return array
    return array[..., np.newaxis] if shape[-1] == 1 else array[np.newaxis]


def _laid_out(pixels: Array, spec: TensorSpec) -> Array:
    """Pixels [height, width, 3] in the layout and the datatype of the input."""
    axes: Mapping[int, tuple[int, int]] = {4: (1, 3), 3: (0, 2)}
    if len(spec.shape) not in axes or spec.datatype is Datatype.BYTES:
        return pixels
    first, last = (spec.shape[axis] for axis in axes[len(spec.shape)])
    is_last = last in (1, 3) and first not in (1, 3)
    pixels = grey(pixels) if (last if is_last else first) == 1 else pixels
    scaled = pixels if spec.datatype is Datatype.UINT8 else _scaled(pixels, dtype_of(spec.datatype))
    placed = scaled if is_last else scaled.transpose(2, 0, 1)
    return placed[np.newaxis] if len(spec.shape) == 4 else placed


def _scaled(pixels: Array, dtype: np.dtype[Any]) -> Array:
    """From 0..255 to 0..1 for floats; other datatypes have no such range, and get the pixels as they are."""
    return (pixels / np.float32(255)).astype(dtype) if dtype.kind == "f" else pixels


def _listed(specs: tuple[TensorSpec, ...]) -> str:
    return ", ".join(f"{spec.name} {spec.datatype} [{', '.join(map(str, spec.shape))}]" for spec in specs)
