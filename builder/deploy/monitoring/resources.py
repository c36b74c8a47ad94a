"""What a replica has at its disposal and comes to the end of: memory, processors, connections, the GPU."""

from __future__ import annotations

from collections.abc import Iterator

from builder.deploy.monitoring.alert import CRITICAL, EACH_REPLICA, NUMBER, OF_REPLICA, SHARE, WARNING, Alert
from builder.deploy.monitoring.watched import REPLICA_LABELS, Watched, by


def resources(watched: Watched) -> Iterator[Alert]:
    if watched.has_own_figures:
        yield from _container(watched)
        yield from _connections(watched)
    if watched.may_have_gpu:
        yield from _gpu(watched)


def _container(watched: Watched) -> Iterator[Alert]:
    used, limit = (watched.series(f"mbuild_container_memory_{part}") for part in ("working_set_bytes", "limit_bytes"))
    yield Alert(
        name="ModelServerMemoryNearLimit",
        severity=WARNING,
        expression=f"max {EACH_REPLICA} ({used} / {limit}) > 0.9",
        lasts="10m",
        summary=f"{OF_REPLICA} uses {SHARE} of its memory",
        description="What cannot be given back is above nine tenths of the container's limit. At the limit the kernel "
        "ends the server (exit code 137).",
        runbook="Raise the limit: `mbuild inspect` has the peak that the build measured, for small requests; memory "
        "grows with the largest batch that was run. Growth for days with steady traffic is a leak, in handler.py "
        "mostly: restart the replica to gain time.",
    )
    held = watched.series("mbuild_container_cpu_throttled_seconds_total")
    yield Alert(
        name="ModelServerThrottled",
        severity=WARNING,
        expression=f"max {EACH_REPLICA} (rate({held}[5m])) > 0.25",
        lasts="15m",
        summary=f"{OF_REPLICA} is held back {NUMBER}s in every second",
        description="The container has used up its quota of processors and waits for the next period: latency jumps.",
        runbook="Take the CPU limit away and keep the request, or raise the limit to whole processors, and let "
        "MBUILD_THREADS be at most that. More replicas help as well.",
    )


def _connections(watched: Watched) -> Iterator[Alert]:
    refused = watched.series("mbuild_connections_refused_total")
    files, most = watched.series("process_open_fds"), watched.series("process_max_fds")
    yield Alert(
        name="ModelServerConnectionsRefused",
        severity=WARNING,
        expression=f"max {EACH_REPLICA} (rate({refused}[5m])) > 0 or "
        f"max {EACH_REPLICA} ({files} / {most} and on (job, instance) mbuild_ready) > 0.8",
        lasts="5m",
        summary=f"{OF_REPLICA} runs out of connections",
        description="Clients are closed beyond MBUILD_MAX_CONNECTIONS, or file descriptors come to their end.",
        runbook="Clients that open a connection for each request should keep theirs. Many clients that idle: a shorter "
        "MBUILD_IDLE_TIMEOUT. Else more replicas, or a higher MBUILD_MAX_CONNECTIONS.",
    )
    refusals = watched.series("mbuild_auth_failures_total")
    yield Alert(
        name="ModelServerKeysRefused",
        severity=WARNING,
        expression=f"sum by (namespace, job, reason) (rate({refusals}[5m])) > 1",
        lasts="10m",
        summary="{{ $labels.job }} refuses " + NUMBER + " requests a second for their key ({{ $labels.reason }})",
        description="Either a client has an old key, or somebody tries keys.",
        runbook="The access log names client and user agent (MBUILD_ACCESS_LOG). After a change of keys: both were to "
        "be valid for a while. Somebody unknown: close the way to the port (NetworkPolicy, Ingress).",
    )
    lost = watched.series("mbuild_traces_spans_dropped_total")
    yield Alert(
        name="ModelServerTracesLost",
        severity=WARNING,
        expression=f"sum by (namespace, job, reason) (rate({lost}[5m])) > 0",
        lasts="15m",
        summary="{{ $labels.job }} loses spans ({{ $labels.reason }})",
        description="The collector does not take them, or more are made than are sent. Requests are not held up.",
        runbook="collector: the log says why once a minute (address, certificate, status). queue: sample less "
        "(OTEL_TRACES_SAMPLER=parentbased_traceidratio, OTEL_TRACES_SAMPLER_ARG=0.01).",
    )


def _gpu(watched: Watched) -> Iterator[Alert]:
    if watched.has_own_figures:
        yield Alert(
            name="ModelServerNotOnGpu",
            severity=CRITICAL,
            expression=f"min {EACH_REPLICA} ({watched.series('mbuild_gpu_serves')}) == 0",
            lasts="1m",
            summary=f"{OF_REPLICA} serves from the CPU",
            description="The image is for a GPU, MBUILD_ALLOW_CPU is set, and there was none that it can use.",
            runbook="The log's first lines name what is missing: driver, its version, the GPU itself, or what is asked "
            "of the scheduler (nvidia.com/gpu). Without MBUILD_ALLOW_CPU the server would not have started.",
        )
    used, total = watched.series("nv_gpu_memory_used_bytes"), watched.series("nv_gpu_memory_total_bytes")
    labels = by(*REPLICA_LABELS, "gpu_uuid")
    yield Alert(
        name="ModelServerGpuMemoryNearFull",
        severity=WARNING,
        expression=f"max {labels} ({used} / ({total} > 0)) > 0.97",
        lasts="10m",
        summary=f"The GPU of {OF_REPLICA} has {SHARE} of its memory in use",
        description="Of all who use it. The next larger request fails with out of memory (status 503).",
        runbook="Who else is on the GPU (`nvidia-smi`)? Then one replica less on it, smaller batches "
        "(server.max_batch), or a quantised model (`quantize` in model.yaml).",
    )
