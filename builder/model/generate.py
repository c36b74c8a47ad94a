"""Makes golden cases from a signature where the directory has none: the same cases on every machine, for ever.

Values come from the raw 64-bit words of PCG64, which numpy guarantees not to change (NEP 19 covers BitGenerators, not
the distributions on top). Integers are 0 or 1: they may be indices, token types or masks, and both are legal for all.
Dynamic dims on the first axis take batches of 1, 2 and 7 (one, even, and odd and prime, which finds hidden
reshapes); others take one size, or min, opt and max where model.yaml gives them. Inputs at the edge of what a model
may meet are made by builder/model/edges.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np

from builder.model.golden import Array, GoldenCase
from builder.model.manifest import DimRange, ModelManifest
from builder.model.protocol import dtype_of
from builder.model.signature import Datatype, Dim, Signature, TensorSpec

BATCHES = (1, 2, 7)
_TOKENS = 16
_SAMPLES = 1600
_SIDE = 64
"""The size of a dynamic dim beyond the batch: a short sequence, a tenth of a second of sound (a model that hears needs
at least one window of it), or the side of an image (five halvings leave 2)."""

MAX_ELEMENTS = 1 << 24
_FLOATS = frozenset({Datatype.FP16, Datatype.FP32, Datatype.FP64})
_WORDS = (b"", b"a", b"Hello, world", "Grüße".encode(), b"42")


Samples = Mapping[str, tuple[bytes | float, ...]]
"""Values by the input's name that a model knows, such as the categories of a column."""
NO_SAMPLES: Samples = MappingProxyType({})


def generate_cases(
    signature: Signature, manifest: ModelManifest, samples: Samples = NO_SAMPLES
) -> tuple[GoldenCase, ...]:
    """``golden.count`` cases of random values and one of zeros, without outputs. Deterministic in its arguments.

    Inputs with ``samples`` take their values from those alone: a model may refuse others."""
    words = np.random.PCG64(manifest.golden.seed)
    cases = [
        GoldenCase(name=f"generated-{number + 1}", inputs=_random_inputs(signature, sizes, words, samples), outputs={})
        for number, sizes in enumerate(_sizes(signature, manifest))
    ]
    smallest = next(_sizes(signature, manifest))
    zeros = {spec.name: _zeros(spec, _shape(spec, smallest), samples) for spec in signature.inputs}
    return (*cases, GoldenCase(name="generated-zeros", inputs=zeros, outputs={}))


def _sizes(signature: Signature, manifest: ModelManifest) -> Iterator[Mapping[str, int]]:
    """The size of every dynamic dim, for each case in turn."""
    ranges = {bounds.name: bounds for bounds in manifest.dims}
    choices = {dim: _choices(dim, spec, axis, ranges) for spec, axis, dim in reversed(list(_dynamic(signature)))}
    for number in range(manifest.golden.count):
        sizes = {dim: sizes[number % len(sizes)] for dim, sizes in choices.items()}
        largest = max((math.prod(_shape(spec, sizes)) for spec in signature.inputs), default=0)
        yield sizes if largest <= MAX_ELEMENTS else {dim: min(sizes) for dim, sizes in choices.items()}


def _dynamic(signature: Signature) -> Iterator[tuple[TensorSpec, int, str]]:
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape):
            if isinstance(dim, str):
                yield spec, axis, dim


def _choices(dim: str, spec: TensorSpec, axis: int, ranges: Mapping[str, DimRange]) -> tuple[int, ...]:
    bounds = ranges.get(dim)
    if bounds is None:
        return BATCHES if axis == 0 else (_length(spec),)
    if axis and not bounds.is_stated:
        return (max(bounds.min, min(_length(spec), bounds.max or _length(spec))),)
    if axis == 0:
        within = tuple(size for size in BATCHES if bounds.min <= size <= (bounds.max or size))
        return within or (bounds.min,)
    return tuple(dict.fromkeys((bounds.min, bounds.opt, bounds.max or bounds.opt)))


def _length(spec: TensorSpec) -> int:
    if len(spec.shape) >= 4:
        return _SIDE
    return _SAMPLES if len(spec.shape) == 2 and spec.datatype in _FLOATS else _TOKENS


def _shape(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...]:
    def size(dim: Dim) -> int:
        return dim if isinstance(dim, int) else sizes[dim]

    return tuple(size(dim) for dim in spec.shape)


def _random_inputs(
    signature: Signature, sizes: Mapping[str, int], words: np.random.PCG64, samples: Samples
) -> dict[str, Array]:
    return {
        spec.name: _chosen(samples[spec.name], spec.datatype, _shape(spec, sizes), words)
        if spec.name in samples
        else _random(spec.datatype, _shape(spec, sizes), words)
        for spec in signature.inputs
    }


def _chosen(
    values: tuple[bytes | float, ...], datatype: Datatype, shape: tuple[int, ...], words: np.random.PCG64
) -> Array:
    raw = np.atleast_1d(np.asarray(words.random_raw(math.prod(shape)), dtype=np.uint64))
    result = np.empty(raw.size, dtype=np.object_)
    result[:] = [values[int(word) % len(values)] for word in raw]
    return (result if datatype is Datatype.BYTES else result.astype(dtype_of(datatype))).reshape(shape)


def _random(datatype: Datatype, shape: tuple[int, ...], words: np.random.PCG64) -> Array:
    raw = np.atleast_1d(np.asarray(words.random_raw(math.prod(shape)), dtype=np.uint64))
    if datatype is Datatype.BYTES:
        result = np.empty(raw.size, dtype=np.object_)
        result[:] = [_WORDS[int(word) % len(_WORDS)] for word in raw]
        return result.reshape(shape)
    dtype = dtype_of(datatype)
    if dtype.kind == "f":
        # 53 bits as a fraction of 1, moved to [-1, 1): exact in FP64, rounded once for smaller types.
        return ((raw >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0).astype(dtype).reshape(shape)
    if datatype is Datatype.UINT8 and len(shape) >= 3:
        return (raw >> np.uint64(56)).astype(dtype).reshape(shape)  # pixels
    return (raw >> np.uint64(63)).astype(dtype).reshape(shape)


def _zeros(spec: TensorSpec, shape: tuple[int, ...], samples: Samples) -> Array:
    """Zeros, or the first value that the model knows."""
    datatype = spec.datatype
    if spec.name in samples:
        dtype = np.object_ if datatype is Datatype.BYTES else dtype_of(datatype)
        return np.full(shape, samples[spec.name][0], dtype=dtype)
    if datatype is Datatype.BYTES:
        return np.full(shape, b"", dtype=np.object_)
    return np.zeros(shape, dtype=dtype_of(datatype))
