"""Spans, their two encodings and OpenTelemetry's variables; the official messages read what is written."""

from __future__ import annotations

import math

import pytest

from builder.serve.observe.account import Account
from builder.serve.observe.metrics import Durations, ModelMetrics
from builder.serve.observe.otel_settings import trace_settings
from builder.serve.observe.otlp import as_json, as_protobuf
from builder.serve.observe.spans import Answered, Parent, Span, identifier, parent_of, sampler, span_count, spans
from tests.support.collectors import attributes, from_json, from_protobuf

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    "header", [f"00-{TRACE}-{PARENT}-01", f" 00-{TRACE}-{PARENT}-01 ", f"cc-{TRACE}-{PARENT}-01-more"]
)
def test_a_caller_s_trace_goes_on(header: str) -> None:
    assert parent_of({"traceparent": header, "tracestate": "a=b"}) == Parent(TRACE, PARENT, True, "a=b")


@pytest.mark.parametrize(
    "header",
    [
        "",
        TRACE,
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-01, 00-{TRACE}-{PARENT}-01",
    ],
)
def test_what_is_no_trace_context(header: str) -> None:
    assert parent_of({"traceparent": header}) is None


def test_samplers() -> None:
    sampled, not_sampled = (Parent(TRACE, PARENT, flag) for flag in (True, False))
    low, high = "f" * 16 + "0" * 15 + "1", "0" * 16 + "f" * 16
    assert sampler("always_on", 1)(not_sampled, low) and not sampler("always_off", 1)(sampled, low)
    half = sampler("traceidratio", 0.5)
    assert half(None, low) and not half(None, high) and half(not_sampled, low)
    for name, root in (("always_on", True), ("always_off", False), ("traceidratio", True)):
        parented = sampler(f"parentbased_{name}", 0.5)
        assert parented(sampled, high) and not parented(not_sampled, low) and parented(None, low) is root


def test_identifiers() -> None:
    assert {len(identifier(16)) for _ in range(300)} == {32} and {len(identifier(8)) for _ in range(300)} == {16}


def answered(status: int = 200, account: Account | None = None) -> Answered:
    return Answered(
        method="POST",
        path="/v2/models/m/infer",
        headers={"user-agent": "test"},
        secure=True,
        client="10.0.0.1",
        status=status,
        received_ns=1000,
        ended_ns=9000,
        account=account,
    )


def test_a_request_that_waited() -> None:
    account = Account(ModelMetrics("m", "7"), Durations(8000, 500, 100, 3000, 200), "id", 2000, 4)
    root, model, queue, compute = spans(answered(account=account), Parent(TRACE, PARENT, True), TRACE, 10**9)
    assert span_count(account) == 4 and {each.trace_id for each in (root, model, queue, compute)} == {TRACE}
    assert [root.parent_id, model.parent_id, queue.parent_id, compute.parent_id] == [
        PARENT,
        root.span_id,
        model.span_id,
        model.span_id,
    ]
    assert (root.start_ns, root.end_ns) == (10**9 + 1000, 10**9 + 9000)
    assert (queue.start_ns, queue.end_ns) == (10**9 + 2000, 10**9 + 2500)
    assert (compute.start_ns, compute.end_ns) == (10**9 + 2500, 10**9 + 5700)
    assert [name for name, _ in model.events] == ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
    assert dict(model.attributes)["triton.model_version"] == 7 and dict(model.attributes)["mbuild.batch_rows"] == 4
    assert dict(root.attributes)["url.scheme"] == "https" and root.status == 0


def test_requests_that_did_not_run() -> None:
    (refused,) = spans(answered(400), None, TRACE, 0)
    assert refused.parent_id == "" and refused.status == 0
    late = Account(ModelMetrics("m", "x"), Durations(), queued_ns=2000)
    root, model, queue = spans(answered(503, late), None, TRACE, 0)
    assert (
        span_count(late) == 3
        and span_count(None) == 1
        and root.status == model.status == 2
        and (queue.start_ns, queue.end_ns) == (2000, 9000)
    )
    assert dict(model.attributes)["triton.model_version"] == "x" and dict(root.attributes)["error.type"] == "503"


EVERY = Span(
    trace_id=TRACE,
    span_id=PARENT,
    parent_id="0000000000000001",
    name="é",
    kind=2,
    start_ns=1_700_000_000_000_000_001,
    end_ns=2**63,
    attributes=(
        ("text", "\u00fc"),
        ("number", -(2**62)),
        ("real", math.pi),
        ("yes", True),
        ("no", False),
        ("empty", ""),
    ),
    events=(("ONE", 5), ("TWO", 2**40)),
    status=2,
    state="a=b",
)


def test_both_encodings_say_the_same_to_the_official_messages() -> None:
    plain = Span(trace_id=TRACE, span_id=PARENT, parent_id="", name="x" * 300, kind=1, start_ns=1, end_ns=2)
    resource = {"service.name": "s", "n": 3}
    read = from_protobuf(as_protobuf([EVERY, plain], resource, "1"))
    assert read == from_json(as_json([EVERY, plain], resource, "1"))
    (part,) = read.resource_spans
    assert attributes(part.resource) == resource and part.scope_spans[0].scope.version == "1"
    first, second = part.scope_spans[0].spans
    assert attributes(first) == dict(EVERY.attributes) and first.trace_id.hex() == TRACE
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (EVERY.start_ns, EVERY.end_ns)
    assert first.parent_span_id.hex() == EVERY.parent_id and second.parent_span_id == b""
    assert [(each.name, each.time_unix_nano) for each in first.events] == list(EVERY.events)
    assert (first.status.code, first.kind, first.trace_state, second.name) == (2, 2, "a=b", "x" * 300)


def settings(**environ: str) -> tuple[object, list[str]]:
    warnings: list[str] = []
    return trace_settings({**ENDPOINT, **environ}, warnings.append), warnings


def test_the_usual_settings() -> None:
    found, warnings = settings()
    assert not warnings and found.endpoint == "http://collector:4318/v1/traces"
    assert (found.protocol, found.timeout, found.delay, found.queue, found.batch) == ("http/protobuf", 10, 5, 2048, 512)
    assert dict(found.resource)["service.name"] == "mbuild"


def test_settings_for_traces_win() -> None:
    found, warnings = settings(
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://traces.example/own",
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL="http/json",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        OTEL_EXPORTER_OTLP_HEADERS="authorization=Bearer%20secret, x = y",
        OTEL_EXPORTER_OTLP_TIMEOUT="2500",
        OTEL_EXPORTER_OTLP_COMPRESSION="gzip",
        OTEL_RESOURCE_ATTRIBUTES="service.name=from-resource,deployment.environment.name=pr%C3%BCf",
        OTEL_SERVICE_NAME="mine",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    assert not warnings and found.endpoint == "https://traces.example/own" and found.protocol == "http/json"
    assert found.headers == (("authorization", "Bearer secret"), ("x", "y")) and found.timeout == 2.5 and found.gzip
    resource = dict(found.resource)
    assert resource["service.name"] == "mine" and resource["deployment.environment.name"] == "prüf"
    assert found.delay == 0.1 and "secret" not in repr(found)


def test_an_exporter_without_an_endpoint_is_the_collector_beside_it() -> None:
    warnings: list[str] = []
    found = trace_settings({"OTEL_TRACES_EXPORTER": "otlp"}, warnings.append)
    assert found is not None and found.endpoint == "http://localhost:4318/v1/traces" and not warnings


@pytest.mark.parametrize(("said", "joins"), [("", True), ("baggage, tracecontext", True), ("none", False)])
def test_whether_a_caller_s_trace_is_taken_up(said: str, joins: bool) -> None:
    found, warnings = settings(OTEL_PROPAGATORS=said)
    assert found.joins is joins and not warnings


@pytest.mark.parametrize("environ", [{"OTEL_SDK_DISABLED": "True"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_off(environ: dict[str, str]) -> None:
    assert settings(**environ) == (None, [])


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"},
            "no traces: 'collector:4317/v1/traces' is not an http:// or",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:port"}, "no traces: 'http://collector:port"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "no traces: OTEL_EXPORTER_OTLP_PROTOCOL is 'grpc'"),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "no traces: OTEL_TRACES_EXPORTER is 'zipkin'; only otlp"),
    ],
)
def test_what_turns_traces_off(environ: dict[str, str], says: str) -> None:
    found, warnings = settings(**environ)
    assert found is None and len(warnings) == 1 and warnings[0].startswith(says)


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER: 'jaeger_remote' is not known here"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "some"},
            "OTEL_TRACES_SAMPLER_ARG is 'some'",
        ),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"},
            "OTEL_TRACES_SAMPLER_ARG is more than 1",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4317"}, "traces go to http://collector:4317/v1/traces over"),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, "OTEL_TRACES_EXPORTER is 'otlp, console'; only otlp"),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "OTEL_METRICS_EXPORTER is 'otlp', which has no effect: metrics are at"),
        ({"OTEL_LOGS_EXPORTER": "otlp"}, "OTEL_LOGS_EXPORTER is 'otlp', which has no effect"),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd"}, "OTEL_EXPORTER_OTLP_COMPRESSION is 'zstd', none is taken"),
        ({"OTEL_PROPAGATORS": "b3,tracecontext"}, "OTEL_PROPAGATORS: 'b3' is not known here"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "0"}, "OTEL_BSP_MAX_QUEUE_SIZE is '0', 2048 is taken"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "nan"}, "OTEL_EXPORTER_OTLP_TIMEOUT is 'nan', 10000 is taken"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "secret"}, "OTEL_EXPORTER_OTLP_HEADERS: an entry that is not KEY=VALUE"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "a=b%0d%0ac"}, "OTEL_EXPORTER_OTLP_HEADERS: an entry that is not KEY=VALUE"),
    ],
)
def test_what_is_warned_about(environ: dict[str, str], says: str) -> None:
    found, warnings = settings(**environ)
    assert found is not None and len(warnings) == 1 and warnings[0].startswith(says)
    assert "secret" not in warnings[0].lower()
