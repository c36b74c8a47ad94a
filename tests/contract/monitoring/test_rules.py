"""Prometheus' own judgement of the rules: they are legal, and call for somebody when they should, and only then."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from builder.deploy.documents import to_yaml
from builder.deploy.monitoring.grafana import dashboard
from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.stack import monitoring_files
from builder.deploy.monitoring.watched import Watched, watch
from tests.support.dashboards import asked
from tests.support.deployed import SERVED
from tests.support.tools import run_tool

CASES = Path(__file__).with_name("alerts.yaml")
DIGITS = Watched(name="digits", job="digits", server="http", p99_seconds=0.003)
EVERY = (
    Watched(),
    DIGITS,
    Watched(name="digits", job="digits", server="http", on_gpu=False),
    Watched(name="digits", job="digits", server="triton", on_gpu=True, p99_seconds=0.4, objective=0.99),
)


@pytest.mark.parametrize("watched", EVERY, ids=lambda each: f"{each.name or 'any'} {each.server} {each.on_gpu}")
def test_every_rule_and_every_question_of_the_dashboard_is_promql(watched: Watched, tmp_path: Path) -> None:
    questions = [{"record": f"panel:{n}", "expr": one} for n, one in enumerate(asked(dashboard(watched)))]
    groups = [*alert_rules(watched)["groups"], {"name": "dashboard", "rules": questions}]
    (tmp_path / "rules.yaml").write_text(to_yaml([{"groups": groups}]))
    run_tool("promtool", "check", "rules", "--lint-fatal", str(tmp_path / "rules.yaml"))


def alert_names(watched: Watched) -> Iterator[str]:
    for group in alert_rules(watched)["groups"]:
        yield from (rule["alert"] for rule in group["rules"] if "alert" in rule)


def test_alerts_fire_when_they_should(tmp_path: Path) -> None:
    rules = alert_rules(DIGITS)
    for rule in (rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule):
        rule["annotations"] = {"summary": rule["annotations"]["summary"]}
    (tmp_path / "rules.yaml").write_text(to_yaml([rules]))
    shutil.copyfile(CASES, tmp_path / "alerts.yaml")
    fired = {
        case["alertname"]
        for test in yaml.safe_load(CASES.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case["exp_alerts"]
    }
    assert fired == set(alert_names(DIGITS)), "each alert is seen to fire"
    run_tool("promtool", "test", "rules", str(tmp_path / "alerts.yaml"))


@pytest.mark.parametrize("name", ["http-cpu", "triton-cuda12"])
def test_prometheus_takes_the_settings_of_a_compose_file(name: str, tmp_path: Path) -> None:
    for path, text in monitoring_files(SERVED[name], watch(SERVED[name])).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    run_tool("promtool", "check", "config", str(tmp_path / "monitoring" / "prometheus.yaml"))
