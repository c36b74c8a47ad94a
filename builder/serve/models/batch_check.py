"""Whether requests of a model are put together, found out by doing it: several rows at once must give what each gives.

A graph may take any first dim and still look at all rows together (a mean over them, a scale for quantisation). So two
rows that differ are run alone and stacked, and compared more closely than any tolerance that was agreed on. Where
nobody asked for batches, they must be worth it on this processor too: dense layers are, convolutions are not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..device import CPU_PROVIDER
from ..http.answers import Refusal
from ..protocol.tensors import Array, Tensor
from .batching import Batching, split, stacked
from .model_folder import ModelUnusable

if TYPE_CHECKING:
    from ..settings import Settings
    from .golden import WarmUp
    from .plain import AnyModel

_USUAL_ROWS = {CPU_PROVIDER: 8}  # measured: more than 8 rows lose on two cores, with 64 tokens
_USUAL_ROWS_ELSEWHERE = 32
_SHARED_SECONDS = 0.0005
_LONG_SECONDS = 0.05
_STACKED = 4
_WORTH = 1.1
_MEASURING_SECONDS = 0.04
_LOUDER = 16.0
_HALVES = ("FP16", "BF16")
_FP32, _COARSE = (1e-4, 2e-5), (1e-2, 5e-3)
"""Relative to a number, and to the largest one of its array."""

Feeds = dict[str, Array]


class NotBatchable(Exception):
    """The message says why, for people."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """What the variables ask for, else what model.yaml did; ``max_rows`` 0 where neither does."""

    max_rows: int
    delay_ns: int
    preferred: tuple[int, ...]
    shared: bool
    """Runs take longer than it takes to wake a thread."""


def wish_for(model: AnyModel, warm: WarmUp, settings: Settings) -> Wish:
    """Runs nothing. Raises NotBatchable, and ModelUnusable where mbuild.json has no sense."""
    said = model.folder.settings.get("batching", {})
    try:
        rows = settings.max_batch or int(said.get("max_batch", 0))
        delay = float(said.get("delay_seconds", 0)) if settings.batch_delay < 0 else settings.batch_delay
        preferred = said.get("preferred", ()) if settings.batch_sizes == "auto" else settings.batch_sizes.split(",")
        sizes = tuple(sorted(int(each) for each in preferred))
    except (AttributeError, TypeError, ValueError) as error:
        raise ModelUnusable(f"{model.folder.path / 'mbuild.json'}: settings.batching is wrong: {error}.") from None
    if rows == 1:
        raise NotBatchable("max_batch is 1")
    _check_signature(model)
    if not rows and model.provider == CPU_PROVIDER and warm.seconds > _LONG_SECONDS:
        raise NotBatchable("a run takes long, so that several would take much longer; max_batch turns it on")
    # A GPU is one: a batch that is divided among threads waits for itself.
    shared = model.provider == CPU_PROVIDER and warm.seconds > _SHARED_SECONDS and not delay
    return Wish(max_rows=rows, delay_ns=int(delay * 1e9), preferred=sizes, shared=shared)


def find_batching(model: AnyModel, feeds: Feeds, wish: Wish) -> Batching:
    """Runs the model some ten times, on ``feeds`` and what is made of them. Raises NotBatchable."""
    one, several = _check_rows(model, feeds)
    if not wish.max_rows and model.provider == CPU_PROVIDER and _gain(model, one, several) < _WORTH:
        raise NotBatchable("several rows take as long as one after the other; max_batch turns it on")
    rows = wish.max_rows or _USUAL_ROWS.get(model.provider, _USUAL_ROWS_ELSEWHERE)
    rows = min(rows, model.most_rows or rows)
    return Batching(max_rows=rows, delay_ns=wish.delay_ns, preferred=wish.preferred, shared=wish.shared)


def _check_signature(model: AnyModel) -> None:
    if not model.is_graph:
        raise NotBatchable("its steps take each request by itself")
    signature = model.signature
    for kind, tensors in (("input", signature.inputs), ("output", signature.outputs)):
        for tensor in tensors:
            if not tensor.shape or isinstance(tensor.shape[0], int):
                raise NotBatchable(f"{kind} '{tensor.name}' {tensor.protocol_shape} has no batch dim")
    names = {tensor.shape[0]: tensor.name for tensor in signature.inputs if tensor.shape[0]}
    if len(names) > 1:
        raise NotBatchable(f"the first dims of its inputs differ: {', '.join(map(str, sorted(map(str, names))))}")


def _check_rows(model: AnyModel, feeds: Feeds) -> tuple[Feeds, Feeds]:
    """One row, and several of them in one feed."""
    rows = {array.shape[0] for array in feeds.values()}
    if len(rows) > 1 or 0 in rows:
        raise NotBatchable("the rows of its golden case do not go together")
    one = {name: array[:1] for name, array in feeds.items()}
    try:
        expected = _run(model, one)
    except Refusal as refusal:
        raise NotBatchable(f"it does not take a single row: {refusal.message}") from None
    other, wanted = _other(model, feeds, one)
    try:
        several = stacked([one, other] * (_STACKED // 2))
        parts = split(_run(model, several), [1] * _STACKED)
    except Refusal as refusal:
        raise NotBatchable(f"it does not take several rows: {refusal.message}") from None
    if parts is None:
        raise NotBatchable("several rows do not give as many rows of each output")
    is_exact = model.device.is_exact
    for number, together in enumerate(parts):
        alone = wanted if number % 2 else expected
        for tensor, one_alone, one_of_all in zip(model.signature.outputs, alone, together, strict=True):
            allowed = _FP32 if is_exact and tensor.datatype not in _HALVES else _COARSE
            if not _same(tensor, one_alone, one_of_all, allowed):
                raise NotBatchable(f"output '{tensor.name}' of a row depends on the rows beside it")
    return one, several


def _gain(model: AnyModel, one: Feeds, several: Feeds) -> float:
    """How many times quicker a row is among several; by this thread's processor time, whoever else is busy."""
    quickest = [float("inf")] * 2
    until = time.perf_counter() + _MEASURING_SECONDS
    for _ in range(5):
        for number, feeds in enumerate((one, several)):
            started = time.thread_time()
            _run(model, feeds)
            quickest[number] = min(quickest[number], time.thread_time() - started)
        if time.perf_counter() > until:
            break
    return _STACKED * quickest[0] / max(quickest[1], 1e-9)


def _other(model: AnyModel, feeds: Feeds, one: Feeds) -> tuple[Feeds, list[Array]]:
    """A row that differs from the first and that the model takes, with what it gives; else the first again."""
    for other in _others(model, feeds, one):
        try:
            return other, _run(model, other)
        except Refusal:
            continue
    return one, _run(model, one)


def _others(model: AnyModel, feeds: Feeds, one: Feeds) -> Iterator[Feeds]:
    def differs(other: Feeds) -> bool:
        return any(not np.array_equal(other[name], one[name]) for name in one)

    texts = {tensor.graph_name for tensor in model.signature.inputs if tensor.datatype == "BYTES"}
    rows = next(iter(feeds.values())).shape[0]
    candidates = (
        {name: _louder(array) for name, array in one.items()},
        {name: array[rows - 1 :] for name, array in feeds.items()},
        {name: array if name in texts else np.zeros_like(array) for name, array in one.items()},
        {name: array if name in texts else np.ones_like(array) for name, array in one.items()},
    )
    yield from filter(differs, candidates)


def _louder(array: Array) -> Array:
    """Much larger numbers show a scale that is common to all rows, as dynamic quantisation has one."""
    if array.dtype.kind != "f":
        return array
    with np.errstate(all="ignore"):
        louder: Array = array * array.dtype.type(_LOUDER)
    return louder


def _run(model: AnyModel, feeds: Feeds) -> list[Array]:
    return model.run(feeds, [tensor.graph_name for tensor in model.signature.outputs])


def _same(tensor: Tensor, alone: Array, together: Array, allowed: tuple[float, float]) -> bool:
    if alone.shape != together.shape:
        return False
    if alone.dtype.kind != "f" and tensor.datatype != "BF16":
        return bool(np.array_equal(alone, together))
    if tensor.datatype == "BF16":
        alone, together = _widened(alone), _widened(together)
    alone, together = alone.astype(np.float64), together.astype(np.float64)
    finite = np.abs(alone[np.isfinite(alone)])
    scale = float(finite.max(initial=0.0))
    relative, absolute = allowed
    return bool(np.allclose(together, alone, rtol=relative, atol=absolute * scale, equal_nan=True))


def _widened(bits: Array) -> Array:
    return (bits.astype(np.uint32) << 16).view(np.float32)
