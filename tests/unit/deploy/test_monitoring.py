"""The rules and the dashboard as values: what is in them for which image, and that Grafana knows every field."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from builder.deploy.monitoring.grafana import dashboard
from builder.deploy.monitoring.kubernetes import dashboard_config_map, prometheus_rule
from builder.deploy.monitoring.load import slow_bound
from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import LATENCY_BOUNDS, Watched, le, watch
from builder.deploy.schemas import BUNDLED, require_valid
from builder.model.measured import Measured, MeasuredLatency
from builder.serve.observe.metrics import LATENCY_SECONDS
from tests.support.deployed import CPU, SERVED

ROOT = Path(__file__).resolve().parents[3]
EVERY = (Watched(), *(watch(served) for served in SERVED.values()))
LATENCY = MeasuredLatency(p50_ms=1, p99_ms=3)


def alerts(watched: Watched) -> dict[str, dict[str, Any]]:
    rules = [rule for group in alert_rules(watched)["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in rules if "alert" in rule}


def panels(watched: Watched) -> list[dict[str, Any]]:
    return [panel for panel in dashboard(watched)["panels"] if panel["type"] != "row"]


def test_the_bounds_are_the_server_s() -> None:
    assert LATENCY_BOUNDS == LATENCY_SECONDS


def test_what_is_watched_of_an_image() -> None:
    slower = replace(LATENCY, p99_ms=5)
    measured = Measured(latency_json=LATENCY, latency_binary=slower)
    found = watch(replace(CPU, measured=measured))
    assert (found.name, found.job, found.server, found.on_gpu, found.p99_seconds) == (
        *("digits", "digits", "http", False),
        0.005,
    )
    assert watch(CPU, "other").job == "other"
    assert watch(replace(CPU, measured=replace(measured, emulator="qemu"))).p99_seconds is None
    assert watch(replace(CPU, measured=None)).p99_seconds is None


@pytest.mark.parametrize(
    ("p99", "bound"), [(0.003, 0.025), (0.025, 0.1), (0.26, 2), (7.5, 30), (8, None), (None, None)]
)
def test_what_is_slow(p99: float | None, bound: float | None) -> None:
    watched = Watched(p99_seconds=p99)
    assert slow_bound(watched) == bound
    assert ("ModelServerSlow" in alerts(watched)) is (bound is not None)


def test_a_bound_is_found_in_both_spellings() -> None:
    assert le(0.025) == 'le="0.025"'
    pattern = re.fullmatch('le=~"(.*)"', le(30))
    assert pattern and all(re.fullmatch(pattern[1], each) for each in ("30", "30.0"))
    assert pattern and not re.fullmatch(pattern[1], "300")


def test_only_what_the_server_tells_is_asked() -> None:
    triton = json.dumps([alert_rules(watch(SERVED["triton-cpu"])), dashboard(watch(SERVED["triton-cpu"]))])
    assert "mbuild_" not in triton
    assert "nv_gpu" not in triton and "nv_gpu" in json.dumps(alert_rules(watch(SERVED["triton-cuda12"])))
    assert "ModelServerNotOnGpu" in alerts(watch(SERVED["http-cuda12"]))
    assert "ModelServerNotOnGpu" not in alerts(watch(SERVED["http-cpu"]))
    assert "GPU" not in [panel["title"] for panel in dashboard(watch(CPU))["panels"]]


def test_every_selector_names_the_job() -> None:
    for rule in alerts(Watched(name="digits", job="digits", p99_seconds=0.01)).values():
        without = re.sub(r"and on \(job, instance\) mbuild_ready", "", rule["expr"])
        names = re.findall(r"\b(?:nv_|mbuild_|process_|up\b|job_model:)[a-z_0-9:]*(\{)?", without)
        assert names and all(names), rule["expr"]


@pytest.mark.parametrize("watched", EVERY, ids=lambda each: f"{each.name} {each.server} {each.on_gpu}")
def test_every_alert_teaches(watched: Watched) -> None:
    documented = (ROOT / "docs" / "server.md").read_text() + (ROOT / "docs" / "gpu.md").read_text()
    for name, rule in alerts(watched).items():
        assert rule["labels"]["severity"] in ("critical", "warning")
        notes = rule["annotations"]
        assert all(len(notes[key]) > 20 for key in ("summary", "description", "runbook")), name
        for variable in re.findall(r"MBUILD_[A-Z_]+", notes["runbook"]):
            assert variable in documented, f"{name} speaks of {variable}"
        for other in re.findall(r"ModelServer\w+", notes["runbook"]):
            assert other in alerts(watched) or not watched.has_own_figures, f"{name} speaks of {other}"


@pytest.mark.parametrize("watched", EVERY, ids=lambda each: f"{each.name} {each.server} {each.on_gpu}")
def test_a_dashboard_is_whole(watched: Watched) -> None:
    made = dashboard(watched)
    identifiers = [panel["id"] for panel in made["panels"]]
    assert len(set(identifiers)) == len(identifiers) and len(made["uid"]) <= 40
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in made["panels"]):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells
    known = {variable["name"] for variable in made["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(made))) <= known
    for panel in panels(watched):
        assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"]
        assert [target["refId"] for target in panel["targets"]] == list("ABCDEFGH"[: len(panel["targets"])])


@pytest.mark.parametrize("watched", EVERY, ids=lambda each: f"{each.name} {each.server} {each.on_gpu}")
def test_grafana_knows_every_field(watched: Watched) -> None:
    """Its own types read the dashboard and write it again: what they do not know is lost on the way."""
    register_default_plugins()
    made = dashboard(watched)
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(json.loads(json.dumps(made)))))
    for note in made["annotations"]["list"]:  # those two are of the Prometheus data source, not of the dashboard
        del note["titleFormat"], note["textFormat"]
    assert not list(lost(made, again))


def lost(one: Any, other: Any, at: str = "") -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one:
            yield from lost(one[key], other[key], f"{at}.{key}") if key in other else (f"{at}.{key}",)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from lost(*pair, f"{at}[{number}]")
    elif one != other:
        yield f"{at}: {one!r} became {other!r}"


def test_as_kubernetes_takes_them() -> None:
    watched, labels = watch(CPU), (("release", "prometheus"),)
    rule, config = prometheus_rule(watched, "models", labels), dashboard_config_map(watched, "models", labels)
    assert rule["spec"] == alert_rules(watched) and rule["metadata"]["labels"]["release"] == "prometheus"
    require_valid([rule, config])
    for version in BUNDLED:
        kubernetes_validate.validate(dict(config), version, strict=True)
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1" and config["metadata"]["namespace"] == "models"
    assert json.loads(config["data"]["digits-monitoring-dashboard.json"]) == dashboard(watched)
