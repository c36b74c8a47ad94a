"""A Prometheus of a test's own, in the foreground, scraping every quarter of a second."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from builder.deploy.monitoring.grafana import dashboard
from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import Watched
from tests.support.dashboards import sent, targets
from tests.support.services import free_port
from tests.support.tools import find_tool
from tests.support.waiting import until

EVERY = "250ms"
WINDOW = "5s"
"""What a rate is taken over: many scrapes, even where the machine is busy."""


@dataclass(frozen=True)
class Prometheus:
    address: str
    process: subprocess.Popen[bytes]

    def ask(self, path: str, **query: str) -> Any:
        answer = requests.get(f"http://{self.address}/api/v1/{path}", params=query, timeout=30)
        told = answer.json()
        assert told["status"] == "success", f"{query}: {told}"
        return told["data"]

    def series(self, expression: str) -> list[dict[str, Any]]:
        """What a panel would draw now."""
        return list(self.ask("query", query=expression)["result"])

    def missing(self, expressions: Sequence[str]) -> list[str]:
        return [one for one in expressions if not self.series(one)]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def ready(self) -> bool:
        assert self.process.poll() is None, "Prometheus has ended"
        try:
            return requests.get(f"http://{self.address}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False


@contextmanager
def scraping(jobs: Mapping[str, str], rules: Mapping[str, Any], directory: Path) -> Iterator[Prometheus]:
    """``jobs`` are addresses by the names of their jobs; ``rules`` a file of rules."""
    program, address = find_tool("prometheus"), f"127.0.0.1:{free_port()}"
    (directory / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
    settings = {
        "global": {"scrape_interval": EVERY, "scrape_timeout": EVERY, "evaluation_interval": EVERY},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": job, "scrape_timeout": EVERY, "static_configs": [{"targets": [target]}]}
            for job, target in jobs.items()
        ],
    }
    (directory / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    command = [program, f"--config.file={directory / 'prometheus.yaml'}", f"--web.listen-address={address}"]
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"--storage.tsdb.path={directory / 'data'}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            prometheus = Prometheus(address, process)
            until(prometheus.ready, seconds=60)
            yield prometheus
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def questions(watched: Watched, exposition: str) -> list[str]:
    """Of all panels but those about a container's cgroup where the server sees none."""
    has_cgroup = "mbuild_container_memory_limit_bytes" in exposition
    every = [sent(one, WINDOW) for _, one in targets(dashboard(watched))]
    return [one for one in every if has_cgroup or "mbuild_container_" not in one]


def require_all(prometheus: Prometheus, expressions: list[str]) -> None:
    assert len(expressions) > 10
    try:
        until(lambda: not prometheus.missing(expressions), seconds=60)
    except AssertionError:
        pytest.fail("\n".join(("nothing to draw:", *prometheus.missing(expressions))))


def require_healthy_rules(prometheus: Prometheus, watched: Watched) -> None:
    rules = prometheus.rules()
    assert len(rules) == sum(len(group["rules"]) for group in alert_rules(watched)["groups"])
    until(lambda: all(rule["health"] != "unknown" for rule in prometheus.rules()), seconds=60)
    assert [rule["lastError"] for rule in prometheus.rules() if rule["health"] != "ok"] == []
