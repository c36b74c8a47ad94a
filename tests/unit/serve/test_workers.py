"""What several processes tell becomes one answer, and the board never shows half of what was told."""

from __future__ import annotations

import pytest

from builder.serve.observe.exposition import Family, Sample, counter, gauge
from builder.serve.observe.metrics import Durations, ModelMetrics
from builder.serve.workers.board import LEAVING, READY, Board
from builder.serve.workers.sums import Told, together


def busy(requests: int, rows: int) -> ModelMetrics:
    model = ModelMetrics("m", "1")
    for _ in range(requests):
        model.executed(rows, 1000)
        model.succeeded(Durations(request=10, compute_infer=1000), rows, rows)
    return model


def test_statistics_are_sums() -> None:
    one, other, idle = busy(3, 2), busy(2, 8), busy(0, 1)
    one.failed("REJECTED", 7)
    other.last_inference_ms = 5
    told = together([Told([], [each.statistics()]) for each in (one, other, idle)]).statistics[0]
    assert (told["name"], told["version"]) == ("m", "1")
    assert (told["inference_count"], told["execution_count"]) == (22, 5)
    assert told["inference_stats"]["success"] == {"count": 5, "ns": 50}
    assert told["inference_stats"]["fail"] == {"count": 1, "ns": 7}
    assert told["last_inference"] == one.last_inference_ms
    assert [(each["batch_size"], each["compute_infer"]) for each in told["batch_stats"]] == [
        (2, {"count": 3, "ns": 3000}),
        (8, {"count": 2, "ns": 2000}),
    ]


def test_a_worker_that_has_not_loaded_yet_takes_nothing_away() -> None:
    told = busy(1, 1).statistics()
    assert together([Told([], []), Told([], [told])]).statistics == [told]


@pytest.mark.parametrize(
    ("name", "values", "together_"),
    [
        ("nv_inference_count", (2, 3), 5),
        ("process_resident_memory_bytes", (10, 20), 30),
        ("mbuild_queue_oldest_seconds", (0.5, 2.5), 2.5),
        ("mbuild_ready", (1, 0), 0),
        ("process_start_time_seconds", (9.5, 7.5), 7.5),
        ("nv_cpu_memory_total_bytes", (100, 101), 100),
        ("mbuild_container_memory_bytes", (100, 101), 100),
    ],
)
def test_figures_are_joined_by_what_they_mean(name: str, values: tuple[float, float], together_: float) -> None:
    told = [Told([gauge(name, "about", value)], []) for value in values]
    assert together(told).families == [gauge(name, "about", together_)]


def test_each_sample_is_joined_with_its_like() -> None:
    def family(**counts: int) -> Family:
        return Family("n", "counter", "about", tuple(Sample(n, f'at="{at}"') for at, n in counts.items()))

    assert together([Told([family(a=1, b=2)], []), Told([family(b=3, c=4)], [])]).families == [family(a=1, b=5, c=4)]


def test_what_is_told_travels_whole() -> None:
    told = Told([counter("c", "about", 3), *[Family("h", "histogram", "a", (Sample(1, 'le="1"', "_bucket"),))]], [])
    assert Told.from_bytes(told.to_bytes()) == told
    assert Told.from_bytes(Told([], [], {"threads": 2}).to_bytes()).facts == {"threads": 2}


def test_ready_is_when_all_are() -> None:
    found = Board(2)
    found.set_state(0, READY)
    assert not found.all_ready
    found.set_state(1, READY)
    assert found.all_ready
    found.leave()
    assert not found.all_ready
    found.set_state(0, LEAVING)


def test_the_board_keeps_each_workers_own() -> None:
    found = Board(3)
    assert found.published(1) == b""
    for turn in range(5):
        for worker in range(3):
            assert found.publish(worker, b"%d" % worker * (turn + 1))
            found.set_connections(worker, worker)
    assert [found.published(each) for each in range(3)] == [b"00000", b"11111", b"22222"]
    assert [found.connections(each) for each in range(3)] == [0, 1, 2]
    assert not found.publish(1, bytes(2 * 2**20 + 1))
    assert found.published(1) == b"11111"
