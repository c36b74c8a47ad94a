"""Replays golden cases against a running image with tritonclient, in JSON and with the binary extension, and measures.

FP16, NaN and bytes that are not UTF-8 have no JSON form in the Open Inference Protocol; such a tensor goes in binary in
both replays. tritonclient loads slowly, so that it is imported where it is used: most builds test nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np

from builder.errors import ProbeError
from builder.host.clock import Clock
from builder.model.golden import Array, GoldenCase
from builder.model.parity import CaseReport, OutputMissing, TensorComparison, compare_case
from builder.model.protocol import TensorProblem, as_bytes_array, datatype_of, encode_tensor
from builder.probe.cases import ModelCases
from builder.probe.runner import Limits, RunningImage, RunState

_POLL_SECONDS = 0.01
_STATE_EVERY = 10
_WARM_UP, _MOST_REQUESTS, _LEAST_REQUESTS, _MOST_SECONDS = 5, 100, 3, 0.25


class ExitedEarly(ProbeError):
    code = "exited-early"
    message = "the container ended before it was ready ({ending}); its last lines:\n{log}"
    hint = "the lines above are the server's own; a memory limit that is too low also ends it"


class NeverReady(ProbeError):
    code = "never-ready"
    message = "the container was not ready after {seconds:g} s: {reason}; its last lines:\n{log}"
    hint = "GET /v2/health/ready must answer 200 once the model is loaded; a large model may need a longer deadline"


class RequestFailed(ProbeError):
    code = "request-failed"
    message = "{model}, golden case {case} in {form}: the server gave no answer: {reason}; its last lines:\n{log}"
    hint = "compare the case's tensors with the model's metadata (GET /v2/models/{model})"


class ServedMismatch(ProbeError):
    code = "served-mismatch"
    message = "{model}, golden case {case} in {form}: output {tensor!r} is wrong {difference}; last lines:\n{log}"
    hint = "the model agreed with its source before it was packed, so look at the runtime in the image and its platform"


class Form(StrEnum):
    """How tensors travel."""

    JSON = "json"
    BINARY = "binary"


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """One golden case, answered twice."""

    model: str
    case: str
    json: CaseReport
    binary: CaseReport

    @property
    def worst_absolute(self) -> float:
        """The largest difference of any element of any output."""
        return max((tensor.max_absolute for tensor in (*self.json.tensors, *self.binary.tensors)), default=0.0)

    def to_json(self) -> dict[str, object]:
        json, binary = self.json.to_json(), self.binary.to_json()
        return {"model": self.model, "case": self.case, "json": json, "binary": binary}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        json, binary = (CaseReport.from_json(value[form]) for form in Form)
        return cls(model=value["model"], case=value["case"], json=json, binary=binary)


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Of ``requests`` requests one after the other on one connection, as the client sees them."""

    requests: int
    p50_ms: float
    p99_ms: float

    def to_json(self) -> dict[str, object]:
        return {"requests": self.requests, "p50_ms": round(self.p50_ms, 3), "p99_ms": round(self.p99_ms, 3)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(**value)


def wait_until_ready(running: RunningImage, limits: Limits, clock: Clock) -> float:
    """Seconds from its start until GET /v2/health/ready said 200, or, of one that speaks TLS, until its own health
    check did. Raises ExitedEarly and NeverReady."""
    reason, polls = "nothing listens on its port", 0
    with closing(_connect(running, timeout=2.0)) as client:
        while True:
            try:
                if client.is_server_ready():
                    return clock.monotonic() - running.started
                reason = "it answers, and says that it is not ready"
            except _trouble() as error:
                reason = reason if isinstance(error, ConnectionError) else f"it does not answer ({_sentence(error)})"
            late = clock.monotonic() - running.started > limits.ready_seconds
            if (late or polls % _STATE_EVERY == 0) and _require_running(running).is_healthy:
                return clock.monotonic() - running.started
            if late:
                raise NeverReady(seconds=limits.ready_seconds, reason=reason, log=running.log())
            polls += 1
            clock.sleep(_POLL_SECONDS)


def _require_running(running: RunningImage) -> RunState:
    state = running.state()
    if not state.running:
        raise ExitedEarly(ending=state.ending, exit_code=state.exit_code, log=running.log())
    return state


def replay(running: RunningImage, models: Iterable[ModelCases], limits: Limits) -> tuple[Replay, ...]:
    """Send every case in both forms. Raises RequestFailed, and ServedMismatch for the worst tensor of all."""
    with closing(_connect(running, timeout=limits.request_seconds)) as client:
        replays = []
        for model in models:
            for case in model.cases:
                json, binary = (_answer(running, client, model, case, form) for form in Form)
                replays.append(Replay(model=model.model, case=case.name, json=json, binary=binary))
    _require_agreement(running, replays)
    return tuple(replays)


def _answer(running: RunningImage, client: Any, model: ModelCases, case: GoldenCase, form: Form) -> CaseReport:
    try:
        result = _Request(model.model, case, form).send(client)
        actual = {name: array for name in case.outputs if (array := result.as_numpy(name)) is not None}
        return compare_case(case, actual, model.tolerances)
    except _trouble(OutputMissing, ValueError, KeyError, TypeError) as error:
        facts = {"model": model.model, "case": case.name, "form": form.value}
        raise RequestFailed(**facts, reason=_sentence(error), log=running.log()) from error


def _trouble(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """What says that there was no answer."""
    from geventhttpclient.response import HTTPParseError
    from tritonclient.utils import InferenceServerException

    return OSError, InferenceServerException, HTTPParseError, *others


class _Request:
    """A golden case as tritonclient's objects, made once and sent as often as one likes."""

    def __init__(self, model: str, case: GoldenCase, form: Form) -> None:
        import tritonclient.http as triton

        self._model = model
        self._inputs = [_input(name, array, form) for name, array in case.inputs.items()]
        self._outputs = [
            triton.InferRequestedOutput(name, binary_data=form is Form.BINARY or not _has_json_form(name, array))
            for name, array in case.outputs.items()
        ]

    def send(self, client: Any) -> Any:
        return client.infer(self._model, self._inputs, outputs=self._outputs)


def _input(name: str, array: Array, form: Form) -> Any:
    import tritonclient.http as triton

    datatype = datatype_of(array)
    if datatype is None:
        raise TensorProblem(f"the input {name!r} is {array.dtype}, which the protocol does not have")
    tensor = triton.InferInput(name, list(array.shape), datatype.value)
    content = as_bytes_array(array) if array.dtype.kind in "SUO" else array
    tensor.set_data_from_numpy(content, binary_data=form is Form.BINARY or not _has_json_form(name, array))
    return tensor


def _has_json_form(name: str, array: Array) -> bool:
    try:
        encode_tensor(name, array)
    except TensorProblem:
        return False
    return True


def _require_agreement(running: RunningImage, replays: Iterable[Replay]) -> None:
    failing = list(_failing(replays))
    if not failing:
        return
    each, form, tensor = max(failing, key=lambda item: (bool(item[2].mismatch), item[2].max_absolute))
    raise ServedMismatch(
        model=each.model,
        case=each.case,
        form=form.value,
        tensor=tensor.name,
        difference=tensor.difference,
        comparison=tensor,
        log=running.log(),
    )


def _failing(replays: Iterable[Replay]) -> Iterator[tuple[Replay, Form, TensorComparison]]:
    for each in replays:
        for form, report in ((Form.JSON, each.json), (Form.BINARY, each.binary)):
            yield from ((each, form, tensor) for tensor in report.tensors if not tensor.passed)


def measure(
    running: RunningImage, models: Iterable[ModelCases], limits: Limits, clock: Clock
) -> Mapping[Form, Latency]:
    """The latency of the case with the fewest input bytes, in both forms: 100 requests, or as many as a quarter of a
    second holds, and three at least."""
    model, case = min(((m, c) for m in models for c in m.cases), key=lambda pair: _weight(pair[1]))
    with closing(_connect(running, timeout=limits.request_seconds)) as client:
        try:
            return {form: _measure(_Request(model.model, case, form), client, clock) for form in Form}
        except _trouble() as error:
            facts = {"model": model.model, "case": case.name, "form": "a row of requests"}
            raise RequestFailed(**facts, reason=_sentence(error), log=running.log()) from error


def _weight(case: GoldenCase) -> int:
    return sum(array.nbytes for array in case.inputs.values())


def _measure(request: _Request, client: Any, clock: Clock) -> Latency:
    """Of a slow model, the first request is all that warms up."""
    seconds: list[float] = []
    begun = clock.monotonic()
    while len(seconds) < _WARM_UP + _MOST_REQUESTS:
        sent = clock.monotonic()
        request.send(client)
        seconds.append(clock.monotonic() - sent)
        if clock.monotonic() - begun > _MOST_SECONDS and len(seconds) > _LEAST_REQUESTS:
            break
    kept = seconds[min(_WARM_UP, len(seconds) - _LEAST_REQUESTS) :]
    p50, p99 = np.percentile(np.array(kept) * 1000, (50, 99))
    return Latency(requests=len(kept), p50_ms=float(p50), p99_ms=float(p99))


def _connect(running: RunningImage, timeout: float) -> Any:
    import tritonclient.http as triton

    host, port = running.address
    return triton.InferenceServerClient(f"{host}:{port}", connection_timeout=min(timeout, 5.0), network_timeout=timeout)


def _sentence(error: BaseException) -> str:
    return str(error) or type(error).__name__
