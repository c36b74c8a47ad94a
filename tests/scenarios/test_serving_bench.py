"""``make bench-serving`` with our server and ``session.run`` alone: real wrk, a real image, the shortest loads."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from builder.host import Host
from tests.bench.serving.report import report
from tests.bench.serving.run import Choice, measured
from tests.bench.serving.servers import Bench, available


@pytest.mark.network
@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed (`scripts/interop-tools` does it)")
def test_our_server_is_measured_once(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBUILD_CACHE", str(host.store.root))
    ours = next(server for server in available() if server.name == "http")
    ours = replace(ours, forms={"binary": ours.forms["binary"]})
    limit = next(server for server in available() if server.is_limit)
    choice = Choice(servers=(ours, limit), models=("mlp",), parts=("loop",))
    bench = Bench(place=tmp_path, cache=host.store.root)

    results = measured(choice, 1, 1, bench)
    (visit,) = results.visits("mlp", "http").values()
    assert [load["connections"] for load in visit["loads"]] == [1, 8, 32]
    assert all(load["requests"] > 0 and load["p99"] >= load["p50"] > 0 for load in visit["loads"])
    assert sum(load["cpu"] for load in visit["loads"]) > 0
    assert visit["memory"] > 20_000_000
    assert results.errors("mlp", "http") == results.errors("mlp", "constant") == 0
    assert sorted(results.loops("mlp", 1) | results.loops("mlp", 2)) == [0]
    assert not results.problems()
    assert measured(choice, 1, 1, bench).entries == results.entries  # from the ledger
    assert "| mbuild http |" in report(results, {"http": ours.title}, [], 1)
