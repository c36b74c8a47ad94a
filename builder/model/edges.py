"""Inputs at the edge of what a model may meet, for the gate between a source framework and its ONNX.

Each is one of the model's golden cases, bent in one way: other batches, the longest sequence, zeros, large numbers,
what is missing, infinities, empty and unknown text. Integers stay as they are but for pixels: they may be indices, and
any other could be out of range. The source may have no answer to an edge; then it is reported, and nothing more. Edges
are asked while building only, none travels in the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from builder.model.generate import BATCHES, MAX_ELEMENTS, Samples
from builder.model.golden import Array, GoldenCase
from builder.model.manifest import DimRange, ModelManifest
from builder.model.signature import Datatype, Signature, TensorSpec

PREFIX = "edge-"
LONGEST = 2048
"""A sequence is made no longer than this: attention over more takes minutes, and tells nothing new."""

_LARGE = {Datatype.FP16: 1e2}
_LARGE_USUALLY = 1e3
"""Beyond what normalised data has and where exponentials overflow, not so large that sums of products do."""

_UNKNOWN = b"mbuild-unknown \xc3\xa4\xe4\xb8\x96"
_FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64)

Bend = Callable[[TensorSpec, Array], Array]


def edge_cases(
    signature: Signature, manifest: ModelManifest, cases: tuple[GoldenCase, ...], samples: Samples
) -> tuple[GoldenCase, ...]:
    """The edges that ``golden.edges`` asks for and that differ from ``cases``; deterministic in its arguments.

    ``samples`` are the inputs whose values the model knows one by one: numbers among them are not bent."""
    if not cases or not signature.inputs:
        return ()
    base = _base(cases)
    known = {_content(case.inputs) for case in cases}
    made = []
    for kind in manifest.golden.edges:
        for name, inputs in _MAKERS[kind](signature, manifest, cases, base, samples):
            if (content := _content(inputs)) not in known:
                known.add(content)
                made.append(GoldenCase(name=f"{PREFIX}{name}", inputs=inputs, outputs={}))
    return tuple(made)


Inputs = Mapping[str, Array]
Made = Iterator[tuple[str, Inputs]]
Maker = Callable[[Signature, ModelManifest, tuple[GoldenCase, ...], GoldenCase, Samples], Made]


def _base(cases: tuple[GoldenCase, ...]) -> GoldenCase:
    """The largest that the user gave, else the largest of all."""
    given = [case for case in cases if case.origin]
    return max(given or cases, key=lambda case: sum(array.size for array in case.inputs.values()))


def _content(inputs: Inputs) -> tuple[object, ...]:
    """Text lies in objects, whose own bytes are addresses."""
    return tuple(
        (name, array.shape, str(array.dtype), repr(array.tolist()) if array.dtype.hasobject else array.tobytes())
        for name, array in sorted(inputs.items())
    )


def _batches(
    signature: Signature, manifest: ModelManifest, cases: tuple[GoldenCase, ...], base: GoldenCase, samples: Samples
) -> Made:
    """Batches of 1, 2 and 7 that no case has yet."""
    dims, ranges = batch_dims(signature), {bounds.name: bounds for bounds in manifest.dims}
    for size in BATCHES if dims else ():
        fits = all(dim not in ranges or ranges[dim].min <= size <= (ranges[dim].max or size) for dim in dims)
        seen = any(set(_sizes(signature, case.inputs, dims)) == {size} for case in cases)
        if fits and not seen:
            yield f"batch-{size}", resized(signature, base.inputs, dict.fromkeys(dims, size))


def _longest(
    signature: Signature, manifest: ModelManifest, cases: tuple[GoldenCase, ...], base: GoldenCase, samples: Samples
) -> Made:
    """Each dim that is bounded at its bound, for the smallest batch."""
    batch = batch_dims(signature)
    dims = {dim for spec in signature.inputs for dim in spec.shape if isinstance(dim, str)} - batch
    sizes = {bounds.name: min(bounds.max, LONGEST) for bounds in manifest.dims if bounds.max and bounds.name in dims}
    if not sizes:
        return
    ranges = {bounds.name: bounds.min for bounds in manifest.dims}
    inputs = resized(signature, base.inputs, sizes | {dim: ranges.get(dim, 1) for dim in batch})
    if all(array.size <= MAX_ELEMENTS for array in inputs.values()):
        yield "longest", inputs


def _bent(
    name: str,
    bend: Bend,
    signature: Signature,
    manifest: ModelManifest,
    cases: tuple[GoldenCase, ...],
    base: GoldenCase,
    samples: Samples,
) -> Made:
    specs = {spec.name: spec for spec in signature.inputs}
    yield (
        name,
        {
            tensor: array if tensor in samples and array.dtype != np.object_ else bend(specs[tensor], array)
            for tensor, array in base.inputs.items()
        },
    )


def batch_dims(signature: Signature) -> frozenset[str]:
    """The dynamic dims on the first axis of an input."""
    return frozenset(spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str))


def _sizes(signature: Signature, inputs: Inputs, dims: frozenset[str]) -> Iterator[int]:
    for spec in signature.inputs:
        for dim, size in zip(spec.shape, inputs[spec.name].shape, strict=True):
            if dim in dims:
                yield size


def resized(signature: Signature, inputs: Inputs, sizes: Mapping[str, int]) -> Inputs:
    """The inputs with other sizes of some dims: cut, or repeated from the beginning."""
    result = dict(inputs)
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape):
            array = result[spec.name]
            if isinstance(dim, str) and dim in sizes and array.shape[axis]:
                result[spec.name] = np.take(array, np.arange(sizes[dim]) % array.shape[axis], axis=axis)
    return result


def _zero(spec: TensorSpec, array: Array) -> Array:
    return array if array.dtype == np.object_ else np.zeros_like(array)


def _extreme(spec: TensorSpec, array: Array) -> Array:
    place = _places(array) % 3
    if spec.datatype in _FLOATS:
        large = array.dtype.type(_LARGE.get(spec.datatype, _LARGE_USUALLY))
        bent: Array = np.where(place == 0, large, np.where(place == 1, -large, array))
        return bent
    if spec.datatype is Datatype.UINT8 and array.ndim >= 3:
        white: Array = (255 * (place == 0)).astype(np.uint8)
        return white
    return array


def _missing(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype not in _FLOATS:
        return array
    bent: Array = np.where(_places(array) % 3 == 0, array.dtype.type(np.nan), array)
    return bent


def _infinite(spec: TensorSpec, array: Array) -> Array:
    if spec.datatype not in _FLOATS:
        return array
    place, infinity = _places(array) % 4, array.dtype.type(np.inf)
    bent: Array = np.where(place == 0, infinity, np.where(place == 2, -infinity, array))
    return bent


def _text(value: bytes, spec: TensorSpec, array: Array) -> Array:
    if spec.datatype is not Datatype.BYTES:
        return array
    result = np.empty(array.shape, dtype=np.object_)
    result[...] = value
    return result


def _places(array: Array) -> Array:
    """For each element the sum of its indices: neighbours in every direction differ."""
    places: Array = np.indices(array.shape).sum(axis=0) if array.ndim else np.zeros((), np.int64)
    return places


_MAKERS: Mapping[str, Maker] = {
    "batches": _batches,
    "longest": _longest,
    "zeros": partial(_bent, "zeros", _zero),
    "extremes": partial(_bent, "extremes", _extreme),
    "missing": partial(_bent, "missing", _missing),
    "infinite": partial(_bent, "infinite", _infinite),
    "empty": partial(_bent, "empty", partial(_text, b"")),
    "unknown": partial(_bent, "unknown", partial(_text, _UNKNOWN)),
}
"""In the order in which they are asked, by the words of model.yaml (builder/model/manifest.py, EDGES)."""


def with_ranges(
    manifest: ModelManifest, signature: Signature, ranges: Mapping[str, tuple[int, int | None]]
) -> ModelManifest:
    """The manifest with the sizes that the model's own file allows (min and max by dim), where model.yaml has none."""
    said = {bounds.name for bounds in manifest.dims}
    known = {dim for spec in signature.inputs for dim in spec.shape if isinstance(dim, str)}
    more = tuple(
        DimRange(name=name, min=least, opt=least, max=most, is_stated=False)
        for name, (least, most) in sorted(ranges.items())
        if name in known - said and (least > 1 or most is not None)
    )
    return replace(manifest, dims=(*manifest.dims, *more))
