"""Whether there is anybody to answer, and whether answers are good: replicas, restarts, the error budget.

The burn of the budget is alerted on in two windows each (Site Reliability Workbook, chapter 5): the long one says that
it matters, the short one that it goes on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.deploy.monitoring.alert import (
    CRITICAL,
    EACH_MODEL,
    EACH_REPLICA,
    FEWEST,
    NUMBER,
    OF_MODEL,
    OF_REPLICA,
    SHARE,
    WARNING,
    Alert,
)
from builder.deploy.monitoring.watched import FAILURE, SUCCESS, Watched

OURS = 'reason=~"BACKEND|REJECTED"'
"""Failures that are the service's own: OTHER is mostly requests that the model does not take, CANCELED clients that
left."""
_WINDOWS = ("5m", "30m", "1h", "6h")
_BURNS = (("ModelServerErrorsFast", CRITICAL, 14.4, "1h", "5m"), ("ModelServerErrorsSlow", WARNING, 6, "6h", "30m"))
"""Names, severities, multiples of what the objective allows, and both windows."""


def records(watched: Watched) -> Iterator[dict[str, Any]]:
    for window in _WINDOWS:
        failed = f"sum {EACH_MODEL} (rate({watched.series(FAILURE, OURS)}[{window}]))"
        answered = f"sum {EACH_MODEL} (rate({watched.series(SUCCESS)}[{window}]))"
        yield {"record": _ratio(window), "expr": f"{failed} / ({failed} + {answered})"}


def availability(watched: Watched) -> Iterator[Alert]:
    yield from _replicas(watched)
    yield _restarts(watched)
    yield from _budget(watched)


def _ratio(window: str) -> str:
    return f"job_model:nv_inference_request_failure:ratio_rate{window}"


def _replicas(watched: Watched) -> Iterator[Alert]:
    up = watched.series("up")
    if not watched.job:
        up = f"({up} and on (job, instance) last_over_time({SUCCESS}[1h]))"
    ready = f" or max by (namespace, job) ({watched.series('mbuild_ready')}) == 0" if watched.has_own_figures else ""
    gone = f" or absent({up})" if watched.job else ""
    yield Alert(
        name="ModelServerNoReadyReplica",
        severity=CRITICAL,
        expression=f"max by (namespace, job) ({up}) == 0{ready}{gone}",
        lasts="2m",
        summary="No replica of {{ $labels.job }} can answer",
        description="For two minutes no replica has been scraped and ready: clients get no answers at all.",
        runbook="1. Do the containers run (`kubectl get pods`, `docker ps`)? If none is there: scaled to zero, or the "
        "image cannot be pulled. 2. They end again and again: the last lines of the log say why (a model that does not "
        "load, memory: exit code 137). 3. They run and are not ready: the log says what is missed, as the GPU. "
        "4. They are ready and not scraped: Prometheus' page of targets says why; /metrics asks for a key where keys "
        "are set. A new version began it: roll back first, by the digest that ran before.",
    )
    not_ready = f" or max {EACH_REPLICA} ({watched.series('mbuild_ready')}) == 0" if watched.has_own_figures else ""
    yield Alert(
        name="ModelServerReplicaNotReady",
        severity=WARNING,
        expression=f"max {EACH_REPLICA} ({up}) == 0{not_ready}",
        lasts="10m",
        summary=f"The replica {OF_REPLICA} is not ready",
        description="For ten minutes it has not been scraped or has said itself that it is not ready; others serve.",
        runbook="Read its log from its start: it names the model and the step that fails. A node's fault (disk, GPU, "
        "memory) shows in other pods there too: delete the pod, it starts elsewhere.",
    )


def _restarts(watched: Watched) -> Alert:
    started = f"changes({watched.series('process_start_time_seconds')}[30m]) and on (job, instance) mbuild_ready"
    ours = f"max {EACH_REPLICA} ({started})" if watched.has_own_figures else ""
    reset = f"max {EACH_REPLICA} (resets({watched.series(SUCCESS)}[30m]))"
    return Alert(
        name="ModelServerRestarts",
        severity=WARNING,
        expression=f"({' or '.join(filter(None, (ours, reset)))}) > 1",
        lasts="0m",
        summary=f"{OF_REPLICA} has started {NUMBER} times again in half an hour",
        description="The server ends by itself or is ended; each time its requests are lost and its start is waited "
        "for.",
        runbook="`kubectl describe pod` names the reason: OOMKilled: raise the memory limit or bound the batch "
        "(MBUILD_MAX_BATCH); a failed liveness probe: the machine is overloaded; exit code 1: the last lines of "
        "`kubectl logs --previous`. Triton's counters do not tell a restart without traffic from none.",
    )


def _budget(watched: Watched) -> Iterator[Alert]:
    budget = round(1 - watched.objective, 9)
    failures, only = watched.series(FAILURE, OURS), watched.series("")
    advice = (
        "Which reason (nv_inference_request_failure by reason)? REJECTED: more work than the replicas carry: add some, "
        "see ModelServerQueueDelay. BACKEND: the model fails: the log has a line for each (MBUILD_ACCESS_LOG=0.01 adds "
        "their requests). One replica only: delete it. All since a rollout: roll back by digest."
    )
    for name, severity, factor, long, short in _BURNS:
        limit = f"{factor:g} * {budget:g}"
        enough = f"sum {EACH_MODEL} (increase({failures}[{long}])) >= {FEWEST}"
        yield Alert(
            name=name,
            severity=severity,
            expression=f"{_ratio(long)}{only} > {limit} and {_ratio(short)}{only} > {limit} and {enough}",
            lasts="2m",
            summary=f"{SHARE} of the requests for {OF_MODEL} fail",
            description=f"In the last {long} and still in the last {short}, {factor:g} times as many requests fail as "
            f"the objective of {100 * watched.objective:g} % allows: at that rate the budget of 30 days is gone in "
            f"{30 / factor:.0f} days.",
            runbook=advice,
        )
