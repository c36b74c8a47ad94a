"""Whether requests are served as they come: turned away, refused, waiting, stuck, slow.

The threshold of latency is the first bucket's bound from four times the p99 of the build: it is compared with counts of
a bucket, so nothing is interpolated.
"""

from __future__ import annotations

from collections.abc import Iterator

from builder.deploy.monitoring.alert import CRITICAL, EACH_MODEL, FEWEST, NUMBER, OF_MODEL, SHARE, WARNING, Alert
from builder.deploy.monitoring.watched import FAILURE, LATENCY, LATENCY_BOUNDS, MODEL_LABELS, SUCCESS, Watched, by, le

_SLOWER = 4


def slow_bound(watched: Watched) -> float | None:
    """Seconds from which a request counts as slow, None where nothing was measured or no bucket is so slow."""
    if watched.p99_seconds is None:
        return None
    slow = _SLOWER * watched.p99_seconds
    return next((bound for bound in LATENCY_BOUNDS if bound >= slow), None)


def load(watched: Watched) -> Iterator[Alert]:
    yield from _refused(watched)
    yield _waiting(watched)
    yield _stuck(watched)
    yield from _slow(watched)


def _refused(watched: Watched) -> Iterator[Alert]:
    answered, failed = f"rate({watched.series(SUCCESS)}[5m])", f"rate({watched.series(FAILURE)}[5m])"
    every = f"(sum {EACH_MODEL} ({answered}) + sum {EACH_MODEL} ({failed}))"
    rejected, other = (watched.series(FAILURE, f'reason="{reason}"') for reason in ("REJECTED", "OTHER"))
    yield Alert(
        name="ModelServerRejectsRequests",
        severity=WARNING,
        expression=f"sum {EACH_MODEL} (rate({rejected}[5m])) / {every} > 0.01",
        lasts="5m",
        summary=f"{SHARE} of the requests for {OF_MODEL} are turned away",
        description="The queue is full or requests wait longer than their deadline: clients get 503 with Retry-After.",
        runbook="1. More replicas, or a higher ceiling of the HorizontalPodAutoscaler. 2. Are processors held back "
        "(ModelServerThrottled)? 3. A burst that is over in seconds: a longer queue (MBUILD_QUEUE) takes it, at the "
        "price of waiting. 4. Clients should wait as Retry-After says, not try again at once.",
    )
    enough = f"sum {EACH_MODEL} (increase({other}[15m])) >= {FEWEST}"
    yield Alert(
        name="ModelServerRefusesInputs",
        severity=WARNING,
        expression=f"sum {EACH_MODEL} (rate({other}[5m])) / {every} > 0.05 and {enough}",
        lasts="15m",
        summary=f"{SHARE} of the requests for {OF_MODEL} are refused",
        description="The reason is OTHER: mostly requests that are not what the model takes (status 400).",
        runbook="A client was not changed together with the model, or the other way round: compare with `mbuild "
        "inspect` (names, datatypes and shapes of the tensors) and with `mbuild diff` of the two versions. "
        "MBUILD_ACCESS_LOG above 0 logs every error with client and user agent.",
    )


def _waiting(watched: Watched) -> Alert:
    queue, infer, done = (
        f"sum {EACH_MODEL} (rate({watched.series(name)}[5m]))"
        for name in ("nv_inference_queue_duration_us", "nv_inference_compute_infer_duration_us", SUCCESS)
    )
    return Alert(
        name="ModelServerQueueDelay",
        severity=WARNING,
        expression=f"{queue} / {done} / 1e6 > 0.01 and {queue} > 2 * {infer}",
        lasts="10m",
        summary=f"Requests for {OF_MODEL} wait {NUMBER}s on average",
        description="Waiting takes more than twice as long as computing: the replicas are at their limit.",
        runbook="1. More replicas. 2. Room on the machine (processors that idle): more threads (MBUILD_THREADS; "
        "Triton: instance groups). 3. Small requests: a larger batch (server.max_batch in model.yaml). The panels of "
        "the queue show whether it is steady or comes in bursts.",
    )


def _stuck(watched: Watched) -> Alert:
    labels = by(*MODEL_LABELS, "instance")
    pending = f"sum {labels} ({watched.series('nv_inference_pending_request_count')}) > 0"
    ended = " + ".join(f"sum {labels} (increase({watched.series(name)}[5m]))" for name in (SUCCESS, FAILURE))
    return Alert(
        name="ModelServerStuck",
        severity=CRITICAL,
        expression=f"{pending} and ({ended}) == 0",
        lasts="5m",
        summary=f"{OF_MODEL} on {{{{ $labels.instance }}}} has answered nothing for five minutes",
        description="Requests are accepted and none ends, not even with an error.",
        runbook="Its CPU (process_cpu_seconds_total) or its GPU is busy: one request takes that long; bound what one "
        "may ask (server.max_body_bytes, server.max_batch). Nothing is busy: save the log, then delete the pod; "
        "code of your own (handler.py) that waits for something else is the usual cause.",
    )


def _slow(watched: Watched) -> Iterator[Alert]:
    bound = slow_bound(watched)
    if bound is None or watched.p99_seconds is None:
        return
    done = f"sum {EACH_MODEL} (rate({watched.series(SUCCESS)}[10m]))"
    if watched.has_own_figures:
        bucket = f"sum {EACH_MODEL} (rate({watched.series(f'{LATENCY}_bucket', le(bound))}[10m]))"
        every = f"sum {EACH_MODEL} (rate({watched.series(f'{LATENCY}_count')}[10m]))"
        expression = f"1 - {bucket} / {every} > 0.01"
        summary = f"{SHARE} of the requests for {OF_MODEL} take longer than {_duration(bound)}"
    else:
        spent = f"sum {EACH_MODEL} (rate({watched.series('nv_inference_request_duration_us')}[10m]))"
        expression = f"{spent} / {done} / 1e6 > {bound:g}"
        summary = f"Requests for {OF_MODEL} take {NUMBER}s on average"
    enough = f"sum {EACH_MODEL} (increase({watched.series(SUCCESS)}[10m])) >= 100"
    yield Alert(
        name="ModelServerSlow",
        severity=WARNING,
        expression=f"{expression} and {enough}",
        lasts="10m",
        summary=summary,
        description=f"The build measured a p99 of {_duration(watched.p99_seconds)} for this image, requests one after "
        f"the other; the bound is the first one of the histogram from {_SLOWER} times that.",
        runbook="Where is the time? nv_inference_queue_duration_us: see ModelServerQueueDelay. compute_infer: requests "
        "are larger than the example that was measured, processors are held back (ModelServerThrottled) or are shared "
        "with others, or the machine is slower than the one that built the image. compute_input: large JSON: send "
        "binary tensors.",
    )


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
