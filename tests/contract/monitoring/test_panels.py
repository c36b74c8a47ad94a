"""A real Prometheus scrapes a real server: every panel has something to draw, and no rule fails. The same of Triton is
in tests/contract/server/protocol/test_other_ports.py."""

from __future__ import annotations

from pathlib import Path

from builder.deploy.monitoring.rules import alert_rules
from builder.deploy.monitoring.watched import Watched
from tests.support.dashboards import sent
from tests.support.onnx_models import identity, place
from tests.support.prometheus import WINDOW, questions, require_all, require_healthy_rules, scraping
from tests.support.servers import ask, copied_source, running
from tests.support.waiting import until

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
KEY = {"X-API-Key": "0123456789abcdef"}
HTTP = Watched(name="m", job="m", server="http", on_gpu=False, p99_seconds=0.3)


def test_of_the_minimal_server(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    place(models, "quick", identity("FP32", ("n",)))
    environ = {
        "MBUILD_API_KEY": KEY["X-API-Key"],
        "MBUILD_METRICS_OPEN": "1",
        # Nobody listens there: spans are dropped, and counted.
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
    }
    with running(copied_source(tmp_path), models, **environ) as server:
        address = server.ready().address
        with scraping({"m": address}, alert_rules(HTTP), tmp_path) as prometheus:
            expressions = questions(HTTP, ask(address, "GET", "/metrics").body.decode())

            def load() -> bool:
                for _ in range(20):
                    assert ask(address, "POST", "/v2/models/quick/infer", ONE, KEY).status == 200
                assert ask(address, "POST", "/v2/models/quick/infer", ONE).status == 401
                served = prometheus.series(sent("sum(rate(nv_inference_request_success[$__rate_interval]))", WINDOW))
                return bool(served) and float(served[0]["value"][1]) > 0

            until(load, seconds=60)
            require_all(prometheus, expressions)
            require_healthy_rules(prometheus, HTTP)
            ready = prometheus.series("ALERTS{alertname='ModelServerNoReadyReplica'}")
            assert not ready, "it answers, and is seen to"
