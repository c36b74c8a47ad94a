"""Traces of a real server arrive at a collector, and a collector that does not work costs no request."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.collectors import Collector, attributes, collecting
from tests.support.onnx_models import identity, place, slow
from tests.support.servers import RunningServer, ask, running

ONE = {"id": "request-1", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
QUICK, SLOW = "/v2/models/quick/infer", "/v2/models/slow/infer"
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = {"traceparent": f"00-{TRACE}-{PARENT}-01", "User-Agent": "a-client"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    place(folder, "quick", identity("FP32", ("n",)))
    place(folder, "slow", slow())
    return folder


@contextmanager
def traced(source: Path, models: Path, collector: Collector, **environ: str) -> Iterator[RunningServer]:
    variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50", **environ}
    with running(source, models, **variables) as server:
        yield server.ready()


def figure(server: RunningServer, name: str) -> float:
    lines = ask(server.address, "GET", "/metrics").body.decode().splitlines()
    return float(next(line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")))


@pytest.mark.parametrize(("protocol", "compression"), [("http/protobuf", "gzip"), ("http/json", "none")])
def test_a_request_is_a_trace(server_source: Path, models: Path, protocol: str, compression: str) -> None:
    environ = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_COMPRESSION": compression,
        "OTEL_EXPORTER_OTLP_HEADERS": "x-tenant=one%20two",
        "OTEL_SERVICE_NAME": "digits",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        "MBUILD_ACCESS_LOG": "1",
    }
    with collecting() as collector, traced(server_source, models, collector, **environ) as server:
        before = time.time_ns()
        assert ask(server.address, "POST", SLOW, ONE, SAMPLED).status == 200
        assert ask(server.address, "GET", "/v2/health/ready").status == 200
        spans: dict[str, Any] = {span.name: span for span in collector.wait_for(4)}
        assert set(spans) == {"InferRequest", "slow", "queue", "compute"}
        assert server.event("request")["trace_id"] == TRACE and server.event("request")["request_id"] == "request-1"
        while figure(server, "mbuild_traces_spans_sent_total") < 4:
            time.sleep(0.02)
    assert {span.trace_id.hex() for span in spans.values()} == {TRACE}
    root, model = spans["InferRequest"], spans["slow"]
    assert root.parent_span_id.hex() == PARENT and model.parent_span_id == root.span_id
    assert spans["queue"].parent_span_id == spans["compute"].parent_span_id == model.span_id
    found = attributes(root)
    assert (found["http.request.method"], found["url.path"], found["http.response.status_code"]) == ("POST", SLOW, 200)
    assert (found["client.address"], found["user_agent.original"]) == ("127.0.0.1", "a-client")
    found = attributes(model)
    assert (found["triton.model_name"], found["triton.model_version"]) == ("slow", 1)
    assert found["triton.trace_request_id"] == "request-1"
    for span in spans.values():
        assert before <= root.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.end_time_unix_nano <= root.end_time_unix_nano
    resource = attributes(collector.requests[0].resource_spans[0].resource)
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("digits", "test")
    assert collector.paths[0] == "/v1/traces" and collector.headers[0]["x-tenant"] == "one two"


def test_who_samples(server_source: Path, models: Path) -> None:
    environ = {"OTEL_TRACES_SAMPLER": "parentbased_always_off"}
    with collecting() as collector, traced(server_source, models, collector, **environ) as server:
        assert ask(server.address, "POST", QUICK, ONE).status == 200
        assert ask(server.address, "POST", QUICK, ONE, {"traceparent": f"00-{TRACE}-{PARENT}-00"}).status == 200
        assert ask(server.address, "POST", QUICK, {"inputs": []}, SAMPLED).status == 400
        collector.wait_for(2)
        server.send_signal()
        assert server.exit_code() == 0
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE}
    assert attributes(collector.spans[0])["http.response.status_code"] == 400


def test_what_waits_is_sent_before_the_end(server_source: Path, models: Path) -> None:
    environ = {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
    with collecting() as collector, traced(server_source, models, collector, **environ) as server:
        for _ in range(3):
            assert ask(server.address, "POST", QUICK, ONE).status == 200
        server.send_signal()
        assert server.exit_code() == 0
        assert len([span for span in collector.spans if span.name == "InferRequest"]) == 3


def test_a_collector_that_is_busy_is_asked_again(server_source: Path, models: Path) -> None:
    with collecting(503, 429) as collector, traced(server_source, models, collector) as server:
        assert ask(server.address, "POST", QUICK, ONE, SAMPLED).status == 200
        collector.wait_for(2)
    assert collector.refused == 2


@pytest.mark.parametrize("status", [400, 307])
def test_a_collector_that_refuses_costs_spans_only(server_source: Path, models: Path, status: int) -> None:
    with collecting(status) as collector, traced(server_source, models, collector) as server:
        assert ask(server.address, "POST", QUICK, ONE, SAMPLED).status == 200
        warning = server.event("traces cannot be sent: HTTP status")
        assert warning["level"] == "warning" and warning["spans_lost"] > 0
        assert ask(server.address, "POST", QUICK, ONE, SAMPLED).status == 200
        collector.wait_for(2)
    assert "/elsewhere" not in collector.paths


def test_a_full_queue_drops_and_counts(server_source: Path, models: Path) -> None:
    environ = {"OTEL_BSP_MAX_QUEUE_SIZE": "5", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with traced(server_source, models, Collector(), OTEL_BSP_MAX_EXPORT_BATCH_SIZE="1000", **environ) as server:
        while figure(server, 'mbuild_traces_spans_dropped_total{reason="queue"}') == 0:
            assert ask(server.address, "POST", QUICK, ONE).status == 200
        server.send_signal()
        assert server.exit_code() == 0


def test_settings_that_cannot_be_used_are_a_warning(server_source: Path, models: Path) -> None:
    with running(server_source, models, OTEL_EXPORTER_OTLP_ENDPOINT="collector:4317") as server:
        assert server.ready().event("no traces: ")["level"] == "warning"
