"""What a dashboard shows, in rows: questions in PromQL about what both servers expose, and what only one of them has.

Grafana's variables stand in the questions: ``$namespace``, ``$job``, ``$instance``, ``$model``; each takes every value
as ``.*``. A panel says where its figures come from, so that nobody wonders at an empty one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from builder.deploy.monitoring.load import slow_bound
from builder.deploy.monitoring.watched import FAILURE, LATENCY, SUCCESS, Watched, by, le

_REPLICAS = 'namespace=~"$namespace",job=~"$job",instance=~"$instance"'
_MODELS = f'{_REPLICAS},model=~"$model"'
_EACH_MODEL, _EACH_REPLICA = by("job", "model", "version"), by("job", "instance")
_MODEL_LEGEND, _REPLICA_LEGEND = "{{model}} {{version}}", "{{instance}}"
_ONLY_OURS = "Of the minimal server; Triton does not tell."


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    expression: str
    legend: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """``unit`` is one of Grafana's; ``kind`` timeseries, stat or heatmap; ``width`` of 24. ``bad_from`` is where the
    colour of a stat turns red (or green, where ``more_is_good``)."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    about: str = ""
    stacked: bool = False
    most: float | None = None
    bad_from: float | None = None
    more_is_good: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def rows(watched: Watched) -> tuple[Row, ...]:
    every = (
        Row(title="Overview", panels=tuple(_overview(watched))),
        Row(title="Requests", panels=tuple(_requests(watched))),
        Row(title="Latency", panels=tuple(_latency(watched))),
        Row(title="Queue", panels=tuple(_queue(watched))),
        Row(title="Machine and container", panels=tuple(_machine(watched))),
        Row(title="GPU", panels=tuple(_gpu(watched))),
        Row(title="Connections, keys, traces", panels=tuple(_edges(watched))),
    )
    return tuple(row for row in every if row.panels)


def rate(name: str, labels: str = _MODELS) -> str:
    return f"rate({name}{{{labels}}}[$__rate_interval])"


def _one(expression: str, legend: str = "") -> tuple[Query, ...]:
    return (Query(expression=expression, legend=legend),)


def _overview(watched: Watched) -> Iterator[Panel]:
    scraped = f'sum(up{{{_REPLICAS}}} and on (job, instance) {SUCCESS}{{model=~"$model"}})'
    yield Panel(
        title="Replicas that answer",
        kind="stat",
        width=4,
        queries=_one(f"sum(mbuild_ready{{{_REPLICAS}}}) or {scraped}" if watched.has_own_figures else scraped),
        bad_from=1,
        more_is_good=True,
        about="Ready, as the minimal server says itself; of Triton those whose figures were read.",
    )
    done, failed = f"sum({rate(SUCCESS)})", f"sum({rate(FAILURE)})"
    yield Panel(title="Requests", kind="stat", width=4, unit="reqps", queries=_one(f"{done} + {failed}"))
    ours = f"sum({rate(FAILURE, _MODELS + ',reason=~' + _quoted('BACKEND|REJECTED'))})"
    yield Panel(
        title="Failed",
        kind="stat",
        width=4,
        unit="percentunit",
        queries=_one(f"{ours} / ({done} + {failed})"),
        bad_from=round(1 - watched.objective, 9),
        about="Turned away (REJECTED) and failed in the model (BACKEND), of all requests. Triton's Python backend "
        "counts an error that the model answers as a success.",
    )
    yield Panel(
        title="Mean duration", kind="stat", width=4, unit="s", queries=_one(_mean("nv_inference_request_duration_us"))
    )
    yield Panel(
        title="Mean wait", kind="stat", width=4, unit="s", queries=_one(_mean("nv_inference_queue_duration_us"))
    )
    pending = f"sum(nv_inference_pending_request_count{{{_MODELS}}})"
    yield Panel(title="Pending", kind="stat", width=4, queries=_one(pending))


def _quoted(text: str) -> str:
    return f'"{text}"'


def _mean(name: str) -> str:
    """Seconds for each successful request."""
    return f"sum({rate(name)}) / sum({rate(SUCCESS)}) / 1e6"


def _requests(watched: Watched) -> Iterator[Panel]:
    yield Panel(
        title="Requests by model",
        unit="reqps",
        queries=_one(f"sum {_EACH_MODEL} ({rate(SUCCESS)})", _MODEL_LEGEND),
    )
    yield Panel(
        title="Failures by reason",
        unit="reqps",
        queries=_one(f"sum by (job, model, reason) ({rate(FAILURE)})", "{{model}} {{reason}}"),
        about="REJECTED: queue or deadline. BACKEND: the model failed. CANCELED: the client left. OTHER: mostly "
        "requests that the model does not take.",
    )
    rows_, runs = rate("nv_inference_count"), rate("nv_inference_exec_count")
    yield Panel(
        title="Mean batch",
        queries=_one(f"sum {_EACH_MODEL} ({rows_}) / sum {_EACH_MODEL} ({runs})", _MODEL_LEGEND),
        about="Rows in one execution of the model.",
    )
    yield Panel(
        title="Rows by model",
        unit="short",
        queries=_one(f"sum {_EACH_MODEL} ({rows_})", _MODEL_LEGEND),
        about="Inferences a second, as Triton counts them: the rows of all requests.",
    )
    yield Panel(
        title="Requests by replica",
        unit="reqps",
        queries=_one(f"sum {_EACH_REPLICA} ({rate(SUCCESS)})", _REPLICA_LEGEND),
        about="Uneven: clients that keep their connections stay with the replica that they first came to.",
    )
    if watched.has_own_figures:
        yield Panel(
            title="Batches",
            kind="heatmap",
            queries=_one(f"sum by (le) ({rate('mbuild_batch_rows_bucket')})", "{{le}}"),
            about=f"Executions by their rows. {_ONLY_OURS}",
        )


def _latency(watched: Watched) -> Iterator[Panel]:
    parts = ("queue", "compute_input", "compute_infer", "compute_output")
    yield Panel(
        title="Where the time goes",
        unit="s",
        stacked=True,
        queries=tuple(Query(expression=_mean(f"nv_inference_{part}_duration_us"), legend=part) for part in parts),
        about="Mean of successful requests.",
    )
    mean, done = (f"sum {_EACH_MODEL} ({rate(name)})" for name in ("nv_inference_request_duration_us", SUCCESS))
    yield Panel(title="Mean by model", unit="s", queries=_one(f"{mean} / {done} / 1e6", _MODEL_LEGEND))
    if not watched.has_own_figures:
        return
    buckets = f"sum by (le) ({rate(f'{LATENCY}_bucket')})"
    quantiles = ("0.5", "0.95", "0.99")
    yield Panel(
        title="p50, p95, p99",
        unit="s",
        queries=tuple(
            Query(expression=f"histogram_quantile({each}, {buckets})", legend=f"p{float(each) * 100:g}")
            for each in quantiles
        ),
        about=f"Between the bounds of the histogram's buckets. {_ONLY_OURS}",
    )
    yield Panel(
        title="Durations", kind="heatmap", unit="s", width=16, queries=_one(buckets, "{{le}}"), about=_ONLY_OURS
    )
    if bound := slow_bound(watched):
        fast = f"sum {_EACH_MODEL} ({rate(f'{LATENCY}_bucket', f'{_MODELS},{le(bound)}')})"
        every = f"sum {_EACH_MODEL} ({rate(f'{LATENCY}_count')})"
        yield Panel(
            title=f"Slower than {bound:g} s",
            unit="percentunit",
            queries=_one(f"1 - {fast} / {every}", _MODEL_LEGEND),
            about=f"The build measured a p99 of {watched.p99_seconds:g} s; ModelServerSlow is above 1 %.",
        )


def _queue(watched: Watched) -> Iterator[Panel]:
    pending = f"sum {_EACH_REPLICA} (nv_inference_pending_request_count{{{_MODELS}}})"
    yield Panel(title="Pending by replica", queries=_one(pending, _REPLICA_LEGEND))
    wait, done = (f"sum {_EACH_MODEL} ({rate(name)})" for name in ("nv_inference_queue_duration_us", SUCCESS))
    yield Panel(title="Mean wait by model", unit="s", queries=_one(f"{wait} / {done} / 1e6", _MODEL_LEGEND))
    if watched.has_own_figures:
        for title, name, unit, join in (
            ("Wait for a thread now", "mbuild_queue_depth", "short", "sum"),
            ("Longest wait now", "mbuild_queue_oldest_seconds", "s", "max"),
        ):
            expression = f"{join} {_EACH_MODEL} ({name}{{{_MODELS}}})"
            yield Panel(title=title, unit=unit, queries=_one(expression, _MODEL_LEGEND), about=_ONLY_OURS)


def _machine(watched: Watched) -> Iterator[Panel]:
    yield Panel(
        title="Processors of the machine",
        unit="percentunit",
        most=1,
        queries=_one(f"max {_EACH_REPLICA} (nv_cpu_utilization{{{_REPLICAS}}})", _REPLICA_LEGEND),
        about="Of all that runs there.",
    )
    used, whole = (f"nv_cpu_memory_{part}_bytes{{{_REPLICAS}}}" for part in ("used", "total"))
    yield Panel(
        title="Memory of the machine",
        unit="percentunit",
        most=1,
        queries=_one(f"max {_EACH_REPLICA} ({used} / {whole})", _REPLICA_LEGEND),
        about="Of all that runs there.",
    )
    if watched.has_own_figures:
        yield from _container()


def _container() -> Iterator[Panel]:
    set_, limit = (f"mbuild_container_memory_{part}{{{_REPLICAS}}}" for part in ("working_set_bytes", "limit_bytes"))
    yield Panel(
        title="Memory of the container",
        unit="bytes",
        queries=(
            Query(expression=f"max {_EACH_REPLICA} ({set_})", legend=_REPLICA_LEGEND),
            Query(expression=f"min by (job) ({limit})", legend="limit"),
        ),
        about=f"What cannot be given back, as the kubelet counts it. {_ONLY_OURS}",
    )
    # Others have figures of these names; a server of ours is one that says whether it is ready.
    ours = "and on (job, instance) mbuild_ready"
    cpu = rate("process_cpu_seconds_total", _REPLICAS)
    held = rate("mbuild_container_cpu_throttled_seconds_total", _REPLICAS)
    yield Panel(
        title="Processors of the server",
        queries=(
            Query(expression=f"sum {_EACH_REPLICA} ({cpu} {ours})", legend=_REPLICA_LEGEND),
            Query(expression=f"sum {_EACH_REPLICA} ({held})", legend="held back {{instance}}"),
        ),
        about=f"Cores in use, and seconds in each second that its quota held it back. {_ONLY_OURS}",
    )
    yield Panel(
        title="Memory of the server",
        unit="bytes",
        queries=_one(f"max {_EACH_REPLICA} (process_resident_memory_bytes{{{_REPLICAS}}} {ours})", _REPLICA_LEGEND),
        about=_ONLY_OURS,
    )
    started = f"max {_EACH_REPLICA} (process_start_time_seconds{{{_REPLICAS}}} {ours})"
    yield Panel(title="Up since", unit="s", queries=_one(f"time() - {started}", _REPLICA_LEGEND), about=_ONLY_OURS)


def _gpu(watched: Watched) -> Iterator[Panel]:
    if not watched.may_have_gpu:
        return
    each, legend = by("job", "instance", "gpu_uuid"), "{{instance}} {{gpu_uuid}}"
    use = f"max {each} (nv_gpu_utilization{{{_REPLICAS}}})"
    yield Panel(title="Utilisation", unit="percentunit", most=1, queries=_one(use, legend), about="Of all who use it.")
    used, whole = (f"max {each} (nv_gpu_memory_{part}_bytes{{{_REPLICAS}}})" for part in ("used", "total"))
    yield Panel(
        title="Memory",
        unit="bytes",
        queries=(Query(expression=used, legend=legend), Query(expression=whole, legend="of {{gpu_uuid}}")),
        about="Of all who use it.",
    )
    yield Panel(title="Power", unit="watt", queries=_one(f"max {each} (nv_gpu_power_usage{{{_REPLICAS}}})", legend))
    if watched.has_own_figures:
        serves = f"min {_EACH_REPLICA} (mbuild_gpu_serves{{{_REPLICAS}}})"
        yield Panel(title="Serves from the GPU", queries=_one(serves, _REPLICA_LEGEND), most=1, about=_ONLY_OURS)


def _edges(watched: Watched) -> Iterator[Panel]:
    if not watched.has_own_figures:
        return
    open_ = f"sum {_EACH_REPLICA} (mbuild_connections{{{_REPLICAS}}})"
    refused = rate("mbuild_connections_refused_total", _REPLICAS)
    yield Panel(
        title="Connections",
        queries=(
            Query(expression=open_, legend=_REPLICA_LEGEND),
            Query(expression=f"sum({refused})", legend="refused each second"),
        ),
    )
    statuses = rate("mbuild_requests_refused_total", _REPLICAS)
    keys = rate("mbuild_auth_failures_total", _REPLICAS)
    yield Panel(
        title="Refused before the model",
        unit="reqps",
        queries=(
            Query(expression=f"sum by (status) ({statuses})", legend="status {{status}}"),
            Query(expression=f"sum by (reason) ({keys})", legend="key {{reason}}"),
        ),
        about="No HTTP, too large, too slow; keys, where they are set.",
    )
    sent = rate("mbuild_traces_spans_sent_total", _REPLICAS)
    lost = rate("mbuild_traces_spans_dropped_total", _REPLICAS)
    yield Panel(
        title="Spans",
        unit="cps",
        queries=(
            Query(expression=f"sum({sent})", legend="sent"),
            Query(expression=f"sum by (reason) ({lost})", legend="lost: {{reason}}"),
        ),
        about="Where traces are on.",
    )
