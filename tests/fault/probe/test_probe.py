"""The whole probe on a server that answers rightly, and on one that misbehaves in each way that a probe must see."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.errors import ProbeError
from builder.host import Host
from builder.probe.embedded import EmbeddedRunner
from builder.probe.replay import ExitedEarly, NeverReady, RequestFailed, ServedMismatch
from builder.probe.report import CheckFailed, NotStopping, ProbeReport, probe
from builder.probe.runner import Limits
from tests.support.containers import python_image

pytestmark = pytest.mark.network
LIMITS = Limits(memory_bytes=128 << 20, ready_seconds=30.0, grace_seconds=2.0)


def probed(host: Host, directory: Path, misbehaviour: str = "", limits: Limits = LIMITS) -> ProbeReport:
    image = python_image(host, directory, "fake_server", env={"MISBEHAVIOUR": misbehaviour})
    return probe(image, EmbeddedRunner(host), (), limits, host)


def test_a_good_server_gives_a_report(host: Host, tmp_path: Path) -> None:
    report = probed(host, tmp_path)
    assert (report.runner, report.exit_code) == ("embedded", 0)
    assert [(case.model, case.case) for case in report.cases] == [("double", "rows-1"), ("double", "rows-3")]
    assert all(case.json.passed and case.binary.passed for case in report.cases)
    assert {tensor.name for tensor in report.cases[0].json.tensors} == {"y", "twice"}
    assert 0 < report.ready_seconds < 30 and report.start is None
    assert 0 < report.latency_json.p50_ms <= report.latency_json.p99_ms
    assert 3 <= report.latency_binary.requests <= 100
    assert report.peak_memory_bytes
    assert all(check.passed and not check.findings for check in report.checks)
    assert len(report.checks) == 9
    assert report.to_json()["exit_code"] == 0


def test_a_wrong_number_names_the_worst_tensor(host: Host, tmp_path: Path) -> None:
    with pytest.raises(ServedMismatch) as raised:
        probed(host, tmp_path, "wrong-number")
    comparison = raised.value.facts["comparison"]
    assert (comparison.name, comparison.worst_index, comparison.expected, comparison.actual) == (  # type: ignore[attr-defined]
        "y",
        (0, 3),
        "2.0",
        "2.5",
    )
    assert "golden case rows-1 in json: output 'y' is wrong at [0, 3] 2.5 instead of 2.0" in str(raised.value)
    assert "starting" in str(raised.value)


@pytest.mark.parametrize(
    ("misbehaviour", "kind", "texts"),
    [
        ("exits-early", ExitedEarly, ["exit code 4", "the model is broken"]),
        ("hungry", ExitedEarly, ["starting"]),
        ("refuses", RequestFailed, ["rows-1 in json", "no such tensor", "starting"]),
        ("dies-in-use", RequestFailed, ["rows-1 in json", "about to die"]),
        ("deaf", NotStopping, ["within 2 s", "exit code 137", "starting"]),
        ("calls-out", CheckFailed, ["no-outbound", "it tried to reach an address outside"]),
        ("writes", CheckFailed, ["no-writes", "Read-only file system: '/models/cache'"]),
    ],
)
def test_misbehaviour_is_seen(
    host: Host, tmp_path: Path, misbehaviour: str, kind: type[ProbeError], texts: list[str]
) -> None:
    with pytest.raises(kind) as raised:
        probed(host, tmp_path, misbehaviour)
    assert raised.value.exit_code == 9
    for text in texts:
        assert text in str(raised.value)


def test_a_server_that_is_never_ready(host: Host, tmp_path: Path) -> None:
    limits = Limits(memory_bytes=128 << 20, ready_seconds=3.0)
    with pytest.raises(NeverReady, match="says that it is not ready") as raised:
        probed(host, tmp_path, "never-ready", limits)
    assert "starting" in str(raised.value)


def test_an_image_that_breaks_a_rule_is_not_even_started(host: Host, tmp_path: Path) -> None:
    image = python_image(host, tmp_path, "fake_server", user="root")
    with pytest.raises(CheckFailed, match=r"non-root-user:\n- the user 'root' is not numeric"):
        probe(image, EmbeddedRunner(host), (), LIMITS, host)
