"""Golden cases asked of a loaded model: one to warm up with, all of them for a self-test.

What does not answer as it did when the image was built is not served.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..http.answers import Refusal
from ..observe.logs import Log
from ..protocol.tensors import DTYPES, Array, Tensor
from .comparison import USUAL, Difference, compare
from .model_folder import Golden, ModelUnusable

if TYPE_CHECKING:
    from .plain import AnyModel


@dataclass(frozen=True, kw_only=True, slots=True)
class WarmUp:
    """What the warm-up run told."""

    case: str
    seconds: float
    feeds: dict[str, Array]
    """What it ran on, by the graph's names."""

    @property
    def size(self) -> int:
        """Elements of its inputs together."""
        return sum(array.size for array in self.feeds.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """A golden case and what came of it; ``problem`` is a sentence, empty where all is well."""

    model: str
    case: str
    seconds: float
    outputs: tuple[Difference, ...]
    problem: str

    @property
    def worst(self) -> Difference | None:
        """The output to look at: one that is wrong, else the one that is furthest off."""
        return max(self.outputs, key=lambda each: (bool(each.problem), each.absolute), default=None)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "case": self.case,
            "seconds": round(self.seconds, 6),
            "passed": not self.problem,
            "outputs": [each.to_json() for each in self.outputs],
            "problem": self.problem,
        }


def warm_up(model: AnyModel) -> WarmUp:
    """Runs a golden case, or zeros where there is none. Raises ModelUnusable when that is not answered as expected."""
    case = _usual_case(model)
    try:
        feeds = _feeds_of(model, case)
        seconds = []
        for _ in range(3):  # the first run allocates; the last one is what a request will cost
            started = time.perf_counter()
            results = _run(model, feeds)
            seconds.append(time.perf_counter() - started)
            if seconds[0] > 0.1:
                break
    except Refusal as refusal:
        where = f"\n{refusal.trace}" if refusal.trace else ""
        raise ModelUnusable(f"The warm-up of model '{model.name}' failed: {refusal.message}{where}") from refusal
    if wrong := _wrong(_differences(model, case, results)):
        raise ModelUnusable(f"The warm-up of model '{model.name}' on golden case '{case.name}': {wrong}.")
    return WarmUp(case=case.name, seconds=min(seconds), feeds=feeds)


def self_test(models: Iterable[AnyModel]) -> Iterator[Answered]:
    """Every golden case of every model, one after the other. A model without any gives one entry that says so: nothing
    can be said of it."""
    for model in models:
        files = model.folder.golden_files()
        for file in files:
            yield _answered(model, file)
        if not files:
            problem = f"Model '{model.name}' carries no golden case, so that nothing can be said of it."
            yield Answered(model=model.name, case="", seconds=0.0, outputs=(), problem=problem)


def require_right(models: Iterable[AnyModel], log: Log) -> int:
    """The self-test: how many cases were right. Raises ModelUnusable where one was not, with a line in the log for
    each."""
    answers = list(self_test(models))
    wrong = [each for each in answers if each.problem]
    for each in wrong:
        log.event("error", each.problem, model=each.model, case=each.case)
    if wrong:
        raise ModelUnusable(f"The self-test (MBUILD_SELFTEST) failed: {len(wrong)} of {len(answers)} golden cases.")
    return len(answers)


def _answered(model: AnyModel, file: Path) -> Answered:
    where = f"Golden case '{file.stem}' of model '{model.name}':"
    outputs: tuple[Difference, ...] = ()
    seconds, problem = 0.0, ""
    try:
        case = model.folder.case(file)
        feeds = _feeds_of(model, case)
        started = time.perf_counter()
        results = _run(model, feeds)
        seconds = time.perf_counter() - started
        outputs = _differences(model, case, results)
        wrong = _wrong(outputs) or ("" if outputs else "it has no outputs to compare with")
        problem = f"{where} {wrong}." if wrong else ""
    except ModelUnusable as error:
        problem = str(error)
    except Refusal as refusal:
        problem = f"{where} {refusal.message}"
    return Answered(model=model.name, case=file.stem, seconds=seconds, outputs=outputs, problem=problem)


def _run(model: AnyModel, feeds: dict[str, Array]) -> list[Array]:
    return model.run(feeds, [tensor.graph_name for tensor in model.signature.outputs])


def _usual_case(model: AnyModel) -> Golden:
    """The smallest golden case, or zeros where there is none."""
    return model.folder.golden() or _zeros(model)


def _feeds_of(model: AnyModel, case: Golden) -> dict[str, Array]:
    """By the graph's names. Raises ModelUnusable."""
    return {tensor.graph_name: _fed(tensor, case) for tensor in model.signature.inputs}


def _fed(tensor: Tensor, case: Golden) -> Array:
    array = case.inputs.get(tensor.name, case.inputs.get(tensor.graph_name))
    if array is None:
        raise ModelUnusable(f"Golden case '{case.name}' has no input '{tensor.name}'.")
    return array


def _zeros(model: AnyModel) -> Golden:
    inputs = {}
    for tensor in model.signature.inputs:
        shape = tuple(dim if isinstance(dim, int) else 1 for dim in tensor.shape)
        inputs[tensor.name] = np.full(shape, "" if tensor.datatype == "BYTES" else 0, DTYPES[tensor.datatype])
    return Golden(name="zeros", inputs=inputs, outputs={})


def _differences(model: AnyModel, case: Golden, results: list[Array]) -> tuple[Difference, ...]:
    """Of the outputs that the case has."""
    found = []
    for tensor, result in zip(model.signature.outputs, results, strict=True):
        expected = case.outputs.get(tensor.name, case.outputs.get(tensor.graph_name))
        if expected is not None:
            allowed = model.folder.tolerance(tensor.name) or USUAL
            found.append(compare(tensor.name, tensor.datatype, expected, result, allowed))
    return tuple(found)


def _wrong(outputs: tuple[Difference, ...]) -> str:
    return "; ".join(f"output '{each.output}' {each.problem}" for each in outputs if each.problem)
