"""Figures are true, and Prometheus' own parser reads them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from builder.serve.observe.exposition import Family, counted, gauge, labelled, text
from builder.serve.observe.figures import model_families, queue_families
from builder.serve.observe.machine import Machine
from builder.serve.observe.metrics import Durations, ModelMetrics

MODEL = {"model": "m", "version": "1"}


def samples(families: Iterable[Family]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """By name and sorted labels, as Prometheus reads them; its parser gives every counter the suffix _total."""
    return {
        (sample.name.removesuffix("_total"), tuple(sorted(sample.labels.items()))): sample.value
        for family in parsed(text(families))
        for sample in family.samples
    }


def at(**labels: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted({**MODEL, **labels}.items()))


@pytest.fixture
def busy() -> ModelMetrics:
    model = ModelMetrics("m", "1")
    for milliseconds in (0.1, 60, 100, 101, 3000, 31_000):
        model.executed(4, 1000)
        model.succeeded(Durations(request=round(milliseconds * 1e6), queue=2000), 4, 4)
    model.executed(1000, 1)
    model.failed("REJECTED", 5)
    return model


def test_counters(busy: ModelMetrics) -> None:
    found = samples(model_families([busy, ModelMetrics("other", "2")]))
    assert found["nv_inference_request_success", at()] == 6
    assert found["nv_inference_count", at()] == 24
    assert found["nv_inference_exec_count", at()] == 7
    assert found["nv_inference_request_failure", at(reason="REJECTED")] == 1
    assert found["nv_inference_queue_duration_us", at()] == 12
    assert found["nv_inference_request_success", (("model", "other"), ("version", "2"))] == 0


def test_histograms_are_cumulative_and_complete(busy: ModelMetrics) -> None:
    found = samples(model_families([busy]))
    name = "nv_inference_first_response_histogram_ms"
    buckets = [found[f"{name}_bucket", at(le=bound)] for bound in ("100", "500", "2000", "5000", "+Inf")]
    assert buckets == [3, 4, 4, 5, 6] and found[f"{name}_count", at()] == 6
    assert found[f"{name}_sum", at()] == pytest.approx(34261.1)
    name = "mbuild_request_duration_seconds"
    assert found[f"{name}_bucket", at(le="0.0001")] == 1 and found[f"{name}_bucket", at(le="0.1")] == 3
    assert found[f"{name}_bucket", at(le="30")] == 5 and found[f"{name}_bucket", at(le="+Inf")] == 6
    assert found[f"{name}_sum", at()] == pytest.approx(34.2611)
    name = "mbuild_batch_rows"
    assert [found[f"{name}_bucket", at(le=bound)] for bound in ("2", "4", "128", "+Inf")] == [0, 6, 6, 7]


def test_what_waits() -> None:
    one, two = ModelMetrics("m", "1"), ModelMetrics("two", "1")
    found = samples(queue_families([one, two], [(one, 3_000_000_000), (one, 1_000_000_000)], 4_500_000_000))
    assert found["mbuild_queue_depth", at()] == 2 and found["mbuild_queue_oldest_seconds", at()] == 3.5
    assert found["mbuild_queue_depth", (("model", "two"), ("version", "1"))] == 0
    assert found["mbuild_queue_oldest_seconds", (("model", "two"), ("version", "1"))] == 0


def test_labels_are_escaped() -> None:
    odd = 'a"b\\c\nd'
    (family,) = parsed(
        text(
            [
                counted("x_total", "about", "name", {odd: 3}),
            ]
        )
    )
    assert family.samples[0].labels == {"name": odd} and labelled({"a": "b"}) == 'a="b"'
    assert text([gauge("g", "about", 1.5)]) == "# HELP g about\n# TYPE g gauge\ng 1.5\n"


def machine(root: Path, **files: str) -> dict[str, float]:
    for name, content in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return {name: value for (name, _), value in samples(Machine(root).families()).items()}


MEMINFO = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n"


def test_the_machine_and_its_container(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        proc__stat="cpu 10 0 10 60 20 0 0 0 5 5\ncpu0 1\n",
        proc__meminfo=MEMINFO,
        sys__fs__cgroup__memory_dot_current="1024\n",
        sys__fs__cgroup__memory_dot_max="2048\n",
        sys__fs__cgroup__memory_dot_stat="anon 700\ninactive_file 24\nactive_file 300\n",
        sys__fs__cgroup__cpu_dot_max="150000 100000\n",
        sys__fs__cgroup__cpu_dot_stat="usage_usec 5\nthrottled_usec 2500000\n",
    )
    assert found["nv_cpu_utilization"] == pytest.approx(0.2)
    assert (found["nv_cpu_memory_total_bytes"], found["nv_cpu_memory_used_bytes"]) == (1024_000, 614_400)
    assert found["mbuild_container_memory_bytes"] == 1024 and found["mbuild_container_memory_limit_bytes"] == 2048
    assert found["mbuild_container_memory_working_set_bytes"] == 1000
    assert found["mbuild_container_cpu_limit_cores"] == 1.5
    assert found["mbuild_container_cpu_throttled_seconds"] == 2.5


def test_version_1_and_no_limits(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        sys__fs__cgroup__memory__memory_dot_usage_in_bytes="7\n",
        sys__fs__cgroup__memory__memory_dot_stat="inactive_file 1\ntotal_inactive_file 9\n",
        sys__fs__cgroup__memory__memory_dot_limit_in_bytes="9223372036854771712\n",
        sys__fs__cgroup__cpu__cpu_dot_cfs_quota_us="-1\n",
        sys__fs__cgroup__cpu__cpu_dot_cfs_period_us="100000\n",
        sys__fs__cgroup__cpu__cpu_dot_stat="nr_periods 0\nthrottled_time 1500000000\n",
    )
    assert found["mbuild_container_memory_bytes"] == 7 and "mbuild_container_memory_limit_bytes" not in found
    assert found["mbuild_container_memory_working_set_bytes"] == 0
    assert "mbuild_container_cpu_limit_cores" not in found and "nv_cpu_utilization" not in found
    assert found["mbuild_container_cpu_throttled_seconds"] == 1.5


def test_utilisation_is_since_the_last_look(tmp_path: Path) -> None:
    stat = tmp_path / "proc" / "stat"
    stat.parent.mkdir()
    (tmp_path / "proc" / "meminfo").write_text(MEMINFO)
    watched = Machine(tmp_path)
    seen = []
    for line in ("cpu 0 0 0 100 0 0 0 0", "cpu 75 0 0 125 0 0 0 0", "cpu 75 0 0 125 0 0 0 0"):
        stat.write_text(f"{line} 0 0\n")
        seen.append(samples(watched.families())["nv_cpu_utilization", ()])
    assert seen == [0, 0.75, 0.75]


def test_this_process(tmp_path: Path) -> None:
    found = {name for name, _ in samples(Machine().families())}
    assert found >= {"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"}
    assert {name for name, _ in samples(Machine(tmp_path).families())} == {
        "process_cpu_seconds",
        "process_start_time_seconds",
    }
