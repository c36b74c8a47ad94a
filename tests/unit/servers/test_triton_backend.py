"""What runs inside Triton's python backend: requests put together and taken apart, and what stands in for a shell."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from builder.servers.triton_backend.batches import Array, Feeds, Limits, Question, Refused, answer, stands_alone
from builder.servers.triton_backend.launch import STUB, read
from builder.servers.triton_backend.repository import for_the_cpu

ONE = Limits(rows=8)


class Doubling:
    """A graph that doubles x; it refuses any batch with a negative number in it, and counts its runs."""

    def __init__(self, rows: int | None = None) -> None:
        self.runs: list[int] = []
        self._rows = rows

    def __call__(self, feeds: Feeds, wanted: list[str]) -> list[Array]:
        x = feeds["x"]
        self.runs.append(len(x))
        if (x < 0).any():
            raise Refused("negative", is_input=True)
        results = {"twice": x * 2, "first": x[:, 0]}
        return [results[name][: self._rows] for name in wanted]


def ask(*rows: list[list[float]], wanted: tuple[str, ...] = ("twice",)) -> list[Question]:
    return [Question(feeds={"x": np.array(each, np.float32)}, wanted=list(wanted)) for each in rows]


def test_requests_of_one_form_run_together_and_get_their_own_rows() -> None:
    graph = Doubling()
    one, two = answer(ask([[1, 2]], [[3, 4], [5, 6]]), graph, batched=True, limits=ONE)
    assert graph.runs == [3]
    assert isinstance(one, list) and isinstance(two, list)
    assert one[0].tolist() == [[2, 4]]
    assert two[0].tolist() == [[6, 8], [10, 12]]


def test_requests_of_other_forms_run_apart_in_any_order() -> None:
    graph = Doubling()
    answers = answer(ask([[1, 2]], [[3]], [[5, 6]]), graph, batched=True, limits=ONE)
    assert sorted(graph.runs) == [1, 2]
    assert [given[0].tolist() for given in answers if isinstance(given, list)] == [[[2, 4]], [[6]], [[10, 12]]]


def test_each_gets_the_outputs_that_it_wants() -> None:
    questions = [*ask([[1, 2]], wanted=("first",)), *ask([[3, 4]], wanted=("twice", "first"))]
    one, two = answer(questions, Doubling(), batched=True, limits=ONE)
    assert isinstance(one, list) and isinstance(two, list)
    assert [array.tolist() for array in one] == [[1]]
    assert [array.tolist() for array in two] == [[[6, 8]], [3]]


def test_a_request_that_the_graph_refuses_fails_alone() -> None:
    good, bad, other = answer(ask([[1, 2]], [[-3, 4]], [[5, 6]]), Doubling(), batched=True, limits=ONE)
    assert isinstance(bad, Refused) and bad.is_input
    assert isinstance(good, list) and isinstance(other, list)
    assert (good[0].tolist(), other[0].tolist()) == ([[2, 4]], [[10, 12]])


def test_a_graph_that_does_not_answer_row_by_row_is_asked_one_by_one() -> None:
    graph = Doubling(rows=1)
    one, two = answer(ask([[1, 2]], [[3, 4]]), graph, batched=True, limits=ONE)
    assert graph.runs == [2, 1, 1]
    assert isinstance(one, list) and isinstance(two, list)
    assert (one[0].tolist(), two[0].tolist()) == ([[2, 4]], [[6, 8]])


def test_a_run_has_no_more_rows_than_gain_something() -> None:
    graph = Doubling()
    rows = [[[1.0, 2.0]] * count for count in (3, 4, 2, 12, 1)]
    answers = answer(ask(*rows), graph, batched=True, limits=ONE)
    assert graph.runs == [7, 2, 12, 1]
    assert [len(given[0]) for given in answers if isinstance(given, list)] == [3, 4, 2, 12, 1]


def test_threads_share_what_waits() -> None:
    graph = Doubling()
    with ThreadPoolExecutor(2) as threads:
        questions = ask(*([[number, 1.0]] for number in range(5)))
        answers = answer(questions, graph, batched=True, limits=Limits(rows=8, count=2, threads=threads))
        assert sorted(graph.runs) == [2, 3]
        assert [given[0].tolist() for given in answers if isinstance(given, list)] == [
            [[2.0 * n, 2.0]] for n in range(5)
        ]
        graph.runs.clear()
        answer(ask([[1, 2]]), graph, batched=True, limits=Limits(rows=8, count=2, threads=threads))
        assert graph.runs == [1]


def test_without_batches_nothing_is_put_together() -> None:
    graph = Doubling()
    assert len(answer(ask([[1, 2]], [[3, 4]]), graph, batched=False, limits=ONE)) == 2
    assert graph.runs == [1, 1]


def test_rows_that_stand_alone() -> None:
    assert stands_alone(Doubling(), {"x": np.array([[1, 2], [3, 4]], np.float32)}, ["twice", "first"])


@pytest.mark.parametrize("kind", ["mean", "scale", "fewer"])
def test_rows_that_depend_on_each_other(kind: str) -> None:
    def run(feeds: Feeds, wanted: list[str]) -> list[Array]:
        x = feeds["x"]
        results = {"mean": x - x.mean(), "scale": np.round(x / np.abs(x).max() * 8), "fewer": x[:1]}
        return [results[kind]]

    assert not stands_alone(run, {"x": np.array([[1, 2.4], [3, 4]], np.float32)}, ["y"])


def test_a_row_that_is_refused_when_louder_is_tried_as_it_is() -> None:
    def run(feeds: Feeds, wanted: list[str]) -> list[Array]:
        if (feeds["x"] > 10).any():
            raise Refused("too large", is_input=True)
        return [feeds["x"] * 2]

    assert stands_alone(run, {"x": np.array([[1, 2], [3, 4]], np.float32)}, ["y"])
    assert not stands_alone(run, {"x": np.array([[11, 2]], np.float32)}, ["y"]), "nothing is known"


def test_the_two_lines_of_the_backend_are_understood() -> None:
    assert read(f"{STUB}> /dev/null 2>&1") == ([STUB], True)
    line = f" exec {STUB} /models/digits/1/model.py region_1 1048576 1048576 1 /opt/backends/python 336 digits_0_0"
    assert read(line) == (line.split()[1:], False)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "id",
        "exec id",
        "/bin/true> /dev/null 2>&1",
        f" exec {STUB} a; id",
        f" exec {STUB} $(id)",
        f" exec {STUB} `id`",
        f" exec {STUB} a | id",
        f" exec {STUB} 'a b'",
        f"{STUB} > /models/x",
        f"source /x/bin/activate && exec env LD_LIBRARY_PATH=/x {STUB} a",
    ],
)
def test_nothing_else_is(line: str) -> None:
    assert read(line) is None


def test_models_of_a_gpu_image_for_the_processor(tmp_path: Path) -> None:
    models, into = tmp_path / "models", tmp_path / "tmp" / "models"
    for name, kind in (("digits", "KIND_GPU"), ("steps", "KIND_CPU")):
        (models / name / "1").mkdir(parents=True)
        (models / name / "1" / "model.onnx").write_text(name)
        (models / name / "config.pbtxt").write_text(f'name: "{name}"\ninstance_group [ {{ count: 1 kind: {kind} }} ]\n')
    for _ in range(2):  # a container that is started again has its /tmp still
        for_the_cpu(models, into)
    for name in ("digits", "steps"):
        assert (into / name / "1" / "model.onnx").read_text() == name
        assert "kind: KIND_CPU" in (into / name / "config.pbtxt").read_text()
    assert "KIND_GPU" in (models / "digits" / "config.pbtxt").read_text()
