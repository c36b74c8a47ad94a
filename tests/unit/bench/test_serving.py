"""The pure parts of ``make bench-serving``: what wrk says, medians and ratios, bars, tables, the plot."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bench.serving import dialects
from tests.bench.serving.__main__ import BEGIN, END, replaced
from tests.bench.serving.bars import bars
from tests.bench.serving.constant import answer_of
from tests.bench.serving.containers import split
from tests.bench.serving.ledger import Key, Ledger
from tests.bench.serving.models import Image, Model, request_of
from tests.bench.serving.overload import Tally
from tests.bench.serving.plot import plot
from tests.bench.serving.processes import stat_fields
from tests.bench.serving.report import report
from tests.bench.serving.results import Results, Spread, cpu, rate, ratio, spread
from tests.bench.serving.run import attempted, chosen
from tests.bench.serving.servers import available
from tests.bench.serving.visit import Failed
from tests.bench.serving.wrk import parsed

SAID = {"requests": 4000, "microseconds": 2_000_000, "p50": 210, "p99": 870, "slowest": 9000, "statuses": 2}
SAID |= {"connect": 1, "read": 0, "write": 0, "timeout": 3}
TITLES = {"http": "ours", "fast": "fast peer", "slow": "slow peer"}


def test_wrk_result_is_read_from_its_last_line() -> None:
    found = parsed(f"Running 2s test\n  {{not this}}\n\n{json.dumps(SAID)}\n")
    assert (found.requests, found.seconds, found.rate) == (4000, 2.0, 2000.0)
    assert (found.p50, found.p99) == (0.00021, 0.00087)
    assert found.errors == 6


def test_wrk_without_a_result_is_a_failure() -> None:
    with pytest.raises(RuntimeError, match="unable to connect"):
        parsed("unable to connect to 127.0.0.1:1")


def test_a_process_may_be_called_anything() -> None:
    fields = stat_fields("7 (a) S 1 (b) ) S 5 7 6 0 -1 0 0 0 0 0 11 12 0\n")
    assert fields[:4] == ["S", "5", "7", "6"]
    assert fields[11:13] == ["11", "12"]


def test_spread_is_median_and_range() -> None:
    assert spread([4.0, 1.0, 2.0]) == Spread(2.0, 1.0, 4.0)
    assert spread([4.0, 1.0, 2.0]).share == 0.75


def test_a_ratio_pairs_the_rounds() -> None:
    """The second round was on a busy machine, for both."""
    assert ratio({0: 100.0, 1: 50.0, 2: 99.0}, {0: 10.0, 1: 5.0}) == Spread(10.0, 10.0, 10.0)


def test_a_ledger_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "results.jsonl"
    Ledger(path)(("visit", 0, "mlp", "http"), lambda: {"start": 1.0})
    Ledger(path)(("visit", 1, "mlp", "http"), lambda: {"problem": "the port was taken"})
    with path.open("a") as file:
        file.write('{"key": ["visit", 2, "mlp", "ht')  # killed while writing
    again = Ledger(path)
    assert again(("visit", 0, "mlp", "http"), lambda: {"start": 9.0}) == {"start": 1.0}
    assert again(("visit", 1, "mlp", "http"), lambda: {"start": 2.0}) == {"start": 2.0}
    assert Ledger(path).entries[("visit", 1, "mlp", "http")] == {"start": 2.0}


def test_a_failure_is_an_entry(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> dict[str, Any]:
        raise Failed("did not start")

    assert attempted(("visit", 0, "mlp", "http"), fail) == {"problem": "did not start"}
    assert capsys.readouterr().err == "visit 0 mlp http: problem did not start\n"


def test_words_narrow_their_own_kind() -> None:
    servers = available()
    everything = chosen([], servers)
    assert everything.servers == servers
    assert everything.parts
    some = chosen(["http", "cnn"], servers)
    assert [server.name for server in some.servers] == ["http"]
    assert (some.models, some.parts) == (("cnn",), ())
    assert chosen(["loop"], servers).servers == servers
    with pytest.raises(SystemExit, match="htpt: it knows http, "):
        chosen(["htpt"], servers)


def model(name: str, expected: Mapping[str, Any]) -> Model:
    image = Image(server="http", layout=Path(), root=Path(), argv=(), env={})
    inputs = request_of(name)
    return Model(name=name, directory=Path(), image=image, graph=Path(), inputs=inputs, expected=dict(expected))


EXPECTED = {"p": np.array([[0.25, 0.5, 0.25]], np.float32)}


def test_every_dialect_sends_the_same_numbers() -> None:
    mlp = model("mlp", EXPECTED)
    wanted = mlp.inputs["x"].tolist()
    assert json.loads(dialects.FIELDS.request(mlp).body) == {"x": wanted}
    assert json.loads(dialects.PREDICT.request(mlp).body) == {"x": wanted}
    assert json.loads(dialects.INVOCATIONS.request(mlp).body) == {"inputs": {"x": wanted}}
    (entry,) = json.loads(dialects.V2_JSON.request(mlp).body)["inputs"]
    assert entry == {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": wanted[0]}
    binary = dialects.V2_BINARY.request(mlp)
    assert binary.body[int(binary.headers["Inference-Header-Content-Length"]) :] == mlp.inputs["x"].tobytes()


@pytest.mark.parametrize(
    ("dialect", "body", "headers"),
    [
        (dialects.FIELDS, b'{"p": [[0.25, 0.5, 0.25]]}', {}),
        (dialects.ARRAY, b"[[0.25, 0.5, 0.25]]", {}),
        (dialects.INVOCATIONS, b'{"predictions": {"p": [[0.25, 0.5, 0.25]]}}', {}),
        (dialects.V2_JSON, b'{"outputs": [{"name": "p", "shape": [1, 3], "data": [0.25, 0.5, 0.25]}]}', {}),
        (
            dialects.V2_BINARY,
            b'{"outputs": [{"name": "p", "shape": [1, 3], "parameters": {"binary_data_size": 12}}]}'
            + struct.pack("<3f", 0.25, 0.5, 0.25),
            {"inference-header-content-length": "85"},
        ),
    ],
)
def test_every_answer_reads_alike(dialect: dialects.Dialect, body: bytes, headers: dict[str, str]) -> None:
    found = dialect.read(headers, body, ["p"])
    assert np.array_equal(np.asarray(found["p"], np.float32), EXPECTED["p"])


def test_the_request_for_minilm_is_whole() -> None:
    inputs = json.loads(dialects.V2_JSON.request(model("minilm", {})).body)["inputs"]
    assert [entry["name"] for entry in inputs] == ["input_ids", "attention_mask", "token_type_ids"]
    assert {entry["datatype"] for entry in inputs} == {"INT64"}
    assert [len(entry["data"]) for entry in inputs] == [64, 64, 64]


def test_the_split_comes_from_the_ready_event() -> None:
    log = 'not JSON\n[1]\n{"message": "listening"}\n{"message": "ready", "seconds": 0.1, "seconds_imports": 0.06}\n'
    assert split(log) == {"seconds": 0.1, "seconds_imports": 0.06}
    assert split("") == {}


def test_a_refusal_is_no_error() -> None:
    tally = Tally()
    for status in (200, 200, 503, 500, 0):
        tally.count(status, 0.5)
    assert tally.figures() == {"accepted": 2, "refused": 1, "errors": 2, "p50": 0.5, "p99": 0.5}


def load(rate: float, connections: int, errors: int = 0) -> dict[str, Any]:
    said = {"requests": rate * 2, "seconds": 2.0, "p50": 0.001, "p99": connections / rate, "errors": errors}
    return {"form": "json", "connections": connections, **said, "cpu": 0.5, "elsewhere": 0.1}


def visited(rates: Mapping[str, float], model: str = "mlp") -> dict[Key, dict[str, Any]]:
    """Two rounds; the second at half the speed."""
    return {
        ("visit", number, model, server): {
            "start": 100 / rate,
            "memory": 60_000_000,
            "loads": [load(rate / (number + 1), many) for many in (1, 8, 32)],
        }
        for number in (0, 1)
        for server, rate in rates.items()
    }


def test_bars_take_the_best_peer_of_the_same_round() -> None:
    results = Results(visited({"http": 8000.0, "fast": 1600.0, "slow": 100.0}))
    found = {bar.what: bar for bar in bars(results, ["slow", "fast"])}
    rate = found["tiny MLP: requests/s at 8 against the best peer (fast)"]
    assert rate.cells()[1:] == ("5.00 x", "at least 4 x", "met")
    assert found["tiny MLP: p99 at 32 against the best peer (fast)"].cells()[1:] == ("0.20 x", "at most 1 x", "met")
    assert found["tiny MLP: start of the best peer (fast) against ours"].figure.median == 5.0
    assert found["tiny MLP: memory after the load (PSS)"].cells()[1:] == ("60.00 MB", "at most 65 MB", "met")


def test_a_server_that_does_nothing_stands_beside_the_bar() -> None:
    entries = visited({"http": 4000.0, "fast": 2000.0, "constant": 6000.0})
    found = {bar.what: bar.cells()[1:] for bar in bars(Results(entries), ["fast"])}
    limit = "**missed**; a server that does nothing: 3.00 x, ours 0.67 of it"
    assert found["tiny MLP: requests/s at 1 against the best peer (fast)"] == ("2.00 x", "at least 4 x", limit)
    cpu_at_1 = found["tiny MLP: CPU of a request at 1, that of the best peer (fast) against ours"]
    assert cpu_at_1 == ("2.00 x", "at least 4 x", "**missed**")


def test_the_server_that_does_nothing_gives_the_right_answer() -> None:
    head, _, body = answer_of(model("mlp", EXPECTED)).partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert np.array_equal(dialects.V2_JSON.read({}, body, ["p"])["p"], EXPECTED["p"])


def test_a_missed_bar_is_shown() -> None:
    results = Results(visited({"http": 8000.0, "fast": 4000.0}))
    bar = next(bar for bar in bars(results, ["fast"]) if "at 8" in bar.what)
    assert bar.cells()[1:] == ("2.00 x", "at least 4 x", "**missed**")


def test_turns_are_compared_one_by_one() -> None:
    entries = visited({"http": 100.0, "fast": 100.0}, "minilm")
    entries["turns", "minilm", "fast"] = {"rates": {"http": [60.0, 30.0, 63.0], "fast": [50.0, 25.0, 63.0]}}
    found = {bar.what: bar.cells()[1:] for bar in bars(Results(entries), ["fast"])}
    turns = found["MiniLM: requests/s at 1 against fast, 3 times in turns"]
    assert turns == ("1.20 x (1.00 to 1.20)", "at least 1 x", "met")


def test_without_peers_there_is_nothing_to_beat() -> None:
    found = [bar.what for bar in bars(Results(visited({"http": 8000.0})), ["fast"])]
    assert found == ["tiny MLP: memory after the load (PSS)", "errors of our server under all loads"]


def test_session_run_alone_is_a_limit() -> None:
    entries = visited({"http": 100.0}, "cnn")
    for number in (0, 1):
        entries["visit", number, "cnn", "http"]["loads"] = [{**load(100.0, 8), "form": "binary"}]
        entries["loop", number, "cnn", 2] = {"runs": 250, "seconds": 2.0, "cpu_seconds": 4.0}
    found = {bar.what: bar for bar in bars(Results(entries), [])}
    alone = found["small CNN, binary: requests/s at 8 against `session.run` alone on 2 threads"]
    assert alone.cells()[1:] == ("0.80 x", "at least 0.8 x", "met")


def test_errors_and_overload_have_bars() -> None:
    entries = visited({"http": 100.0}, "cnn")
    entries["visit", 0, "cnn", "http"]["loads"] = [load(100.0, 32, errors=3)]
    entries["overload", "cnn"] = {"accepted": 25, "refused": 75, "errors": 0, "p50": 0.9, "p99": 1.7}
    found = {bar.what: bar for bar in bars(Results(entries), [])}
    assert found["errors of our server under all loads"].cells()[1:] == ("3", "at most 0", "**missed**")
    late = found["small CNN: 4 times the load it can take: p99 of the 25% that it took, the queue's deadline being 1 s"]
    assert late.cells()[1:] == ("1.70 s", "at most 1.5 s", "**missed**")


def test_a_failed_visit_is_left_out_and_told() -> None:
    entries = visited({"http": 100.0})
    entries["visit", 1, "mlp", "http"] = {"problem": "did not start"}
    results = Results(entries)
    assert results.loads("mlp", "http", "json", 8, rate) == {0: 100.0}
    assert "- visit 1 mlp http: did not start\n" in report(results, TITLES, ["fast"], 2)


def test_the_report_has_a_row_for_each_server() -> None:
    entries = visited({"http": 8000.0, "fast": 1600.0})
    entries["loop", 0, "mlp", 2] = {"runs": 1000, "seconds": 2.0, "cpu_seconds": 4.0}
    entries["install", "fast"] = {"seconds": 3.4, "size": 185_000_000}
    for number, seconds in enumerate((0.2, 0.3, 0.4)):
        entries["container", number, "nothing"] = {"seconds": seconds / 2}
        entries["container", number, "answer"] = {
            "seconds": seconds,
            "split": {"seconds": 0.1, "seconds_imports": 0.05},
        }
    text = report(Results(entries), TITLES, ["fast"], 2)
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert rows["ours"].startswith(
        "| ours | 0.01 | 6000 ±33% | 6000 ±33% | 6000 ±33% | 1.00 | 1.50 | 6.00 | 47 | 60 | 0 |"
    )
    assert "slow peer" not in rows
    assert rows["`session.run` alone, 2 threads"].split(" | ")[2] == "500 ±0%"
    assert rows["`docker run` to the first right answer"] == "| `docker run` to the first right answer | 0.300 ±33% |"
    assert rows["of that, imports"] == "| of that, imports | 0.050 ±0% |"
    assert rows["fast peer"] == "| fast peer | 185 | 3 |"


def test_cpu_is_for_one_request() -> None:
    assert cpu(load(1000.0, 8)) == 0.00025
    assert cpu({"cpu": 1.0, "requests": 0}) == 1.0


def test_a_page_keeps_what_is_around_the_marks() -> None:
    page = f"before\n{BEGIN}old\n{END}behind\n"
    assert replaced(page, "new\n") == f"before\n{BEGIN}new\n{END}behind\n"


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    entries = visited({"http": 8000.0, "fast": 1600.0}) | visited({"http": 300.0}, "cnn")
    entries["loop", 0, "cnn", 2] = {"runs": 700, "seconds": 2.0, "cpu_seconds": 4.0}
    plot(Results(entries), TITLES, ["http"], tmp_path / "plot.png")
    head = (tmp_path / "plot.png").read_bytes()[:24]
    width, height = struct.unpack(">II", head[16:])
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (width > 800, height > 250) == (True, True)
