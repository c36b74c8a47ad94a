"""The figures of models for /metrics: Triton's names, and under our own what Triton does not tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

from .exposition import Family, Sample, histogram, labelled
from .metrics import LATENCY_SECONDS, ModelMetrics

FIRST_RESPONSE_MS = (100, 500, 2000, 5000)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128)

Labelled = list[tuple[str, ModelMetrics]]


def model_families(every: Iterable[ModelMetrics]) -> Iterator[Family]:
    models = [(labelled({"model": each.model, "version": each.version}), each) for each in every]

    def family(kind: str, name: str, about: str, value: Callable[[ModelMetrics], int]) -> Family:
        return Family(f"nv_inference_{name}", kind, about, tuple(Sample(value(each), at) for at, each in models))

    about = "Number of successful inference requests, all batch sizes"
    yield family("counter", "request_success", about, attrgetter("success"))
    yield Family("nv_inference_request_failure", "counter", about.replace("successful", "failed"), _failures(models))
    yield family("counter", "count", "Number of inferences performed", attrgetter("inferences"))
    yield family("counter", "exec_count", "Number of model executions performed", attrgetter("executions"))
    about = "Requests accepted and not yet answered"
    yield family("gauge", "pending_request_count", about, attrgetter("pending"))
    for name in ("request", "queue", "compute_input", "compute_infer", "compute_output"):
        about = f"Cumulative {name.replace('_', ' ')} duration in microseconds"
        yield family("counter", f"{name}_duration_us", about, _microseconds(name))
    yield from _histograms(models)


def queue_families(
    every: Iterable[ModelMetrics], waiting: Iterable[tuple[ModelMetrics, int]], now_ns: int
) -> Iterator[Family]:
    """``waiting``: of each request that waits for an inference thread, its model and since when."""
    since: dict[int, list[int]] = {}
    for model, queued_ns in waiting:
        since.setdefault(id(model), []).append(queued_ns)
    depth, oldest = [], []
    for model in every:
        labels, queued = labelled({"model": model.model, "version": model.version}), since.get(id(model), [])
        depth.append(Sample(len(queued), labels))
        oldest.append(Sample((now_ns - min(queued, default=now_ns)) / 1e9, labels))
    yield Family("mbuild_queue_depth", "gauge", "Requests that wait for an inference thread", tuple(depth))
    yield Family("mbuild_queue_oldest_seconds", "gauge", "How long the oldest of them has waited", tuple(oldest))


def _failures(models: Labelled) -> tuple[Sample, ...]:
    return tuple(
        Sample(number, f'{labels},reason="{reason}"')
        for labels, each in models
        for reason, number in each.failure.items()
    )


def _microseconds(name: str) -> Callable[[ModelMetrics], int]:
    return lambda model: int(getattr(model.spent, name)) // 1000


def _histograms(models: Labelled) -> Iterator[Family]:
    def family(name: str, about: str, samples: Callable[[str, ModelMetrics], tuple[Sample, ...]]) -> Family:
        every = tuple(sample for labels, each in models for sample in samples(labels, each))
        return Family(name, "histogram", about, every)

    yield family(
        "nv_inference_first_response_histogram_ms",
        "Duration from request to first response in milliseconds",
        lambda at, each: histogram(FIRST_RESPONSE_MS, _coarser(each.latency), each.spent.request / 1e6, at),
    )
    yield family(
        "mbuild_request_duration_seconds",
        "Duration of successful inference requests in seconds",
        lambda at, each: histogram(LATENCY_SECONDS, each.latency, each.spent.request / 1e9, at),
    )
    yield family(
        "mbuild_batch_rows",
        "Rows (steps of the first dim) that were one execution of the model",
        lambda at, each: histogram(_ROWS, _by_rows(each), each.inferences, at),
    )


def _coarser(latency: list[int]) -> list[int]:
    """The same counts in Triton's buckets, whose bounds are among ours."""
    ends = [LATENCY_SECONDS.index(bound / 1000) + 1 for bound in FIRST_RESPONSE_MS]
    return [sum(latency[start:end]) for start, end in zip([0, *ends], [*ends, None], strict=True)]


def _by_rows(model: ModelMetrics) -> list[int]:
    """Executions in each bucket; what is not listed by its rows had more than the last bound."""
    counts = [
        sum(batch.count for rows, batch in model.batches.items() if low < rows <= high)
        for low, high in zip((-1, *_ROWS), _ROWS, strict=False)
    ]
    return [*counts, max(0, model.executions - sum(counts))]
