"""The split of a start, out of the server's log."""

from __future__ import annotations

import json

import pytest

from builder.probe.start import start_split

READY = {"message": "ready", "seconds_imports": 0.1, "seconds_sessions": 0.02, "seconds_warm_up": 0.003}


def test_what_is_not_the_servers_own_is_the_process() -> None:
    log = "\n".join(["not JSON", "[1]", json.dumps({"message": "listening"}), json.dumps(READY), "more"])
    split = start_split(log, 0.5)
    assert split is not None
    assert split.to_json() == {"process": 0.377, "imports": 0.1, "sessions": 0.02, "warm_up": 0.003}
    assert str(split) == "process 0.38, imports 0.10, sessions 0.02, warm-up 0.00"


def test_clocks_that_disagree_give_no_negative_seconds() -> None:
    split = start_split(json.dumps(READY), 0.1)
    assert split is not None and split.process == 0


@pytest.mark.parametrize(
    "log", ["", "ready", json.dumps(READY | {"message": "listening"}), json.dumps(READY | {"seconds_imports": None})]
)
def test_a_server_that_does_not_say_has_no_split(log: str) -> None:
    assert start_split(log, 0.5) is None
