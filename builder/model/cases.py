"""Reads the golden cases of a model directory and holds them against the signature.

``golden/NAME.npz`` has arrays named ``input:TENSOR`` and ``output:TENSOR``, or plainly ``TENSOR`` where one name says
which it is. ``golden/NAME.request.json`` with ``NAME.response.json`` are bodies of the Open Inference Protocol v2.
Outputs may be left out, and are then answered by the reference. Nothing is unpickled; all problems are raised at once.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from builder.errors import SpecError
from builder.model.golden import Array, GoldenCase, write_case
from builder.model.manifest import DimRange, ModelManifest
from builder.model.problems import Problem, listing, suggestion
from builder.model.protocol import TensorProblem, as_bytes_array, datatype_of, decode_body
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import ModelSource

MAX_CASE_BYTES = 256 << 20
"""Of a case with its outputs: it travels in the image, and the server and the probe read it into memory."""
_DEFAULT_PATHS = ("golden/*.npz", "golden/*.request.json", "golden/*.response.json")
_REQUEST, _RESPONSE = ".request.json", ".response.json"


class GoldenCasesInvalid(SpecError):
    code = "golden-cases-invalid"
    message = "the golden cases do not fit the model:\n{problems}"
    hint = "the model takes {inputs} and gives {outputs}; save arrays under these names, as input:NAME and output:NAME"


class OversizedCase(SpecError):
    code = "oversized-case"
    message = "the golden case {case} has {size} bytes with its outputs; the cap is {cap}"
    hint = (
        "golden cases travel in the image: give smaller inputs, or bound the dims in model.yaml (`dims`, opt and max)"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Raw:
    """The arrays of one case by name, before it is known which are inputs."""

    origin: PurePosixPath
    name: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    unsorted: Mapping[str, Array]


def read_cases(source: ModelSource, manifest: ModelManifest, signature: Signature) -> tuple[GoldenCase, ...]:
    """The golden cases in the directory, sorted by file; empty where there are none. ``signature`` has the names that
    clients see. Raises GoldenCasesInvalid with all problems."""
    return read_both_cases(source, manifest, signature, None)[0]


def read_both_cases(
    source: ModelSource, manifest: ModelManifest, tensors: Signature, plain: Signature | None
) -> tuple[tuple[GoldenCase, ...], tuple[GoldenCase, ...]]:
    """The golden cases of the graph, and those of the plain model around it: a case is plain where it has all inputs of
    that one. Raises GoldenCasesInvalid with all problems."""
    problems: list[Problem] = []
    cases: dict[str, GoldenCase] = {}
    of_plain: set[str] = set()
    for path in _case_files(source, manifest, problems):
        try:
            raw = _read(source, path)
            is_plain = plain is not None and _has_inputs(raw, plain)
            signature = plain if plain is not None and is_plain else tensors
            case = _sort_out(raw, signature)
        except TensorProblem as error:
            problems.append(Problem(str(path), str(error)))
            continue
        if case.name in cases:
            problems.append(Problem(str(path), f"{cases[case.name].origin} is a case of the same name"))
        cases[case.name] = case
        of_plain |= {case.name} if is_plain else set()
        problems += misfits(case, signature, manifest)
    if problems:
        names = [", ".join(tensor.name for tensor in side) for side in (tensors.inputs, tensors.outputs)]
        raise GoldenCasesInvalid(problems=listing(problems), inputs=names[0], outputs=names[1])
    sides = ([case for name, case in cases.items() if (name in of_plain) is side] for side in (False, True))
    of_tensors, others = map(tuple, sides)
    return of_tensors, others


def _has_inputs(raw: _Raw, signature: Signature) -> bool:
    given = raw.inputs.keys() or raw.unsorted.keys()
    return all(tensor.name in given for tensor in signature.inputs)


def misfits(case: GoldenCase, signature: Signature, manifest: ModelManifest) -> tuple[Problem, ...]:
    """Where a case does not fit the signature (the names that clients see) or the bounds of model.yaml."""
    return tuple(_check(case, signature, {bounds.name: bounds for bounds in manifest.dims}))


def read_labelled(
    source: ModelSource, manifest: ModelManifest, signature: Signature, label: str
) -> tuple[tuple[GoldenCase, Array], ...]:
    """The cases of ``metric.cases`` in model.yaml, each with its array ``label``. Raises GoldenCasesInvalid."""
    patterns = manifest.metric.cases if manifest.metric else ()
    problems: list[Problem] = []
    found: list[tuple[GoldenCase, Array]] = []
    for path in sorted({file.path for file in source.files for one in patterns if _matches(file.path, one)}):
        try:
            raw = _read_npz(source, path)
            labels = {**raw.outputs, **raw.unsorted}.get(label)
            if labels is None:
                raise TensorProblem(f"there is no array {label!r}")
            unsorted = {name: array for name, array in raw.unsorted.items() if name != label}
            case = _sort_out(replace(raw, outputs={}, unsorted=unsorted), signature)
        except TensorProblem as error:
            problems.append(Problem(str(path), str(error)))
            continue
        problems += _check(case, signature, {bounds.name: bounds for bounds in manifest.dims})
        found.append((replace(case, name=str(path)), labels))
    if not found and not problems:
        problems.append(Problem("model.yaml: metric.cases", f"no file of the directory matches {', '.join(patterns)}"))
    if problems:
        names = [", ".join(tensor.name for tensor in side) for side in (signature.inputs, signature.outputs)]
        raise GoldenCasesInvalid(problems=listing(problems), inputs=names[0], outputs=names[1])
    return tuple(found)


def require_portable(cases: tuple[GoldenCase, ...]) -> None:
    """Raise OversizedCase for an answered case that is too large to travel in an image."""
    for case in cases:
        size = len(write_case(case))
        if size > MAX_CASE_BYTES:
            raise OversizedCase(case=case.origin or case.name, size=size, cap=MAX_CASE_BYTES)


def _case_files(source: ModelSource, manifest: ModelManifest, problems: list[Problem]) -> Iterator[PurePosixPath]:
    """The files that hold inputs; a pattern of the user that matches nothing and a lone response are problems."""
    matched: dict[PurePosixPath, None] = {}
    for pattern in manifest.golden.paths or _DEFAULT_PATHS:
        found = [file.path for file in source.files if _matches(file.path, pattern)]
        if not found and manifest.golden.paths:
            problems.append(Problem(f"model.yaml: golden.paths: {pattern}", "no file of the directory matches"))
        matched |= dict.fromkeys(found)
    for path in sorted(matched):
        if not path.name.endswith(_RESPONSE):
            yield path
        elif source.find(_sibling(path, _RESPONSE, _REQUEST)) is None:
            problems.append(Problem(str(path), f"there is no {_sibling(path, _RESPONSE, _REQUEST)} that it answers"))


def _matches(path: PurePosixPath, pattern: str) -> bool:
    """PurePath.match matches from the right; the pattern is meant from the model directory."""
    return path.match(pattern) and len(path.parts) == len(PurePosixPath(pattern).parts)


def _sibling(path: PurePosixPath, old: str, new: str) -> PurePosixPath:
    return path.with_name(path.name.removesuffix(old) + new)


def _read(source: ModelSource, path: PurePosixPath) -> _Raw:
    file = source.find(path)
    if file is None or file.size > MAX_CASE_BYTES:
        raise TensorProblem(f"it is larger than {MAX_CASE_BYTES} bytes, the cap for a golden case")
    if path.suffix == ".npz":
        return _read_npz(source, path)
    if not path.name.endswith(_REQUEST):
        raise TensorProblem("a golden case is NAME.npz, or NAME.request.json with NAME.response.json")
    answer = _sibling(path, _REQUEST, _RESPONSE)
    outputs = decode_body(source.locate(answer).read_bytes(), "outputs") if source.find(answer) else {}
    inputs = decode_body(source.locate(path).read_bytes(), "inputs")
    return _Raw(origin=path, name=path.name.removesuffix(_REQUEST), inputs=inputs, outputs=outputs, unsorted={})


def read_arrays(source: ModelSource, path: PurePosixPath) -> tuple[dict[str, Array], dict[str, Array]]:
    """The inputs and outputs of an .npz file as golden cases are written. Raises TensorProblem."""
    raw = _read_npz(source, path)
    return _normal({**raw.inputs, **raw.unsorted}), _normal(raw.outputs)


def _read_npz(source: ModelSource, path: PurePosixPath) -> _Raw:
    arrays = _load(source, path)
    sides: dict[str, dict[str, Array]] = {"input": {}, "output": {}, "": {}}
    for name, array in arrays.items():
        side, _, tensor = name.partition(":")
        side, tensor = (side, tensor) if side in ("input", "output") and tensor else ("", name)
        sides[side][tensor] = array
    return _Raw(origin=path, name=path.stem, inputs=sides["input"], outputs=sides["output"], unsorted=sides[""])


def _load(source: ModelSource, path: PurePosixPath) -> dict[str, Array]:
    try:
        with zipfile.ZipFile(source.locate(path)) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > MAX_CASE_BYTES:
            raise TensorProblem(f"it unpacks to {unpacked} bytes; the cap for a golden case is {MAX_CASE_BYTES}")
        with np.load(source.locate(path), allow_pickle=False) as members:
            return {name: members[name] for name in members.files}
    except TensorProblem:
        raise
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise TensorProblem("an array holds Python objects; save text as bytes: array.astype('S')") from error
        raise TensorProblem(f"it cannot be read as .npz: {error}") from error
    except (zipfile.BadZipFile, OSError, EOFError, KeyError) as error:
        raise TensorProblem(f"it cannot be read as .npz: {error}") from error


def _sort_out(raw: _Raw, signature: Signature) -> GoldenCase:
    """Put the arrays that say neither input nor output where the signature has their name."""
    inputs, outputs = dict(raw.inputs), dict(raw.outputs)
    names = {tensor.name for tensor in signature.inputs}, {tensor.name for tensor in signature.outputs}
    for name, array in raw.unsorted.items():
        if name in names[0] and name in names[1]:
            raise TensorProblem(f"array {name!r} may be the input or the output; name it input:{name} or output:{name}")
        (outputs if name in names[1] else inputs)[name] = array
    return GoldenCase(name=raw.name, inputs=_normal(inputs), outputs=_normal(outputs), origin=str(raw.origin))


def _normal(arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Native byte order, and text as arrays of ``bytes``."""
    return {
        name: as_bytes_array(array)
        if array.dtype.kind in "SU"
        else array.astype(array.dtype.newbyteorder("="), copy=False)
        for name, array in arrays.items()
    }


def _check(case: GoldenCase, signature: Signature, ranges: Mapping[str, DimRange]) -> Iterator[Problem]:
    sizes: dict[str, tuple[int, str]] = {}
    for side, specs, arrays in (
        ("input", signature.inputs, case.inputs),
        ("output", signature.outputs, case.outputs),
    ):
        known = {spec.name: spec for spec in specs}
        for name in known.keys() - arrays.keys() if side == "input" else ():
            yield Problem(case.origin, f"{side} {name!r} is missing")
        for name, array in arrays.items():
            if name not in known:
                yield Problem(case.origin, f"the model has no {side} {name!r}{suggestion(name, known)}")
                continue
            for text in _misfits(known[name], array, ranges, sizes):
                yield Problem(case.origin, f"{side} {name!r} {text}")


def _misfits(
    spec: TensorSpec, array: Array, ranges: Mapping[str, DimRange], sizes: dict[str, tuple[int, str]]
) -> Iterator[str]:
    datatype = datatype_of(array)
    if datatype is not spec.datatype:
        dtype = "'S'" if spec.datatype is Datatype.BYTES else f"np.{_numpy_name(spec.datatype)}"
        yield f"is {datatype or array.dtype}, the model has {spec.datatype}; save it with .astype({dtype})"
    if len(array.shape) != len(spec.shape):
        yield f"has the shape {_shape(array.shape)}, the model has {_shape(spec.shape)}"
        return
    for wanted, size in zip(spec.shape, array.shape, strict=True):
        if isinstance(wanted, int):
            if wanted != size:
                yield f"has the shape {_shape(array.shape)}, the model has {_shape(spec.shape)}"
                return
            continue
        first, where = sizes.setdefault(wanted, (size, spec.name))
        if first != size:
            yield f"has {size} for the dim {wanted!r}, but {where!r} has {first}"
        bounds = ranges.get(wanted)
        if bounds and not bounds.min <= size <= (bounds.max or size):
            yield f"has {size} for the dim {wanted!r}, which model.yaml bounds to {bounds.min}..{bounds.max or ''}"


def _numpy_name(datatype: Datatype) -> str:
    return datatype.lower().replace("fp", "float").replace("bool", "bool_")


def _shape(shape: tuple[int | str, ...]) -> str:
    return "[" + ", ".join(str(dim) for dim in shape) + "]"
