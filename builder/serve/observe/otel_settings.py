"""OpenTelemetry's own variables, as its specification names them, for traces over OTLP/HTTP.

A value that cannot be used is warned about and its default taken, as the specification wants; an endpoint or a protocol
that cannot be used turns traces off. They never stop the server.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from .. import VERSION
from .spans import Sampler, sampler

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_USUAL_ENDPOINT = "http://localhost:4318"
"""Where OTEL_TRACES_EXPORTER=otlp alone sends: a collector beside this container, as the specification has it."""
_GRPC_PORT = 4317
_PROTOCOLS = ("http/protobuf", "http/json")
_SAMPLERS = ("always_on", "always_off", "traceidratio")
_USUAL_SAMPLER = "parentbased_always_on"
_COMPRESSIONS = ("", "none", "gzip")
_PROPAGATOR = "tracecontext"
_WITHOUT_EFFECT = (_PROPAGATOR, "baggage", "none")

Warn = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceSettings:
    """Times are seconds; ``headers`` may hold secrets; ``joins``: whether a caller's trace is taken up."""

    endpoint: str
    protocol: str
    headers: tuple[tuple[str, str], ...]
    timeout: float
    gzip: bool
    ca: str
    client_certificate: str
    client_key: str
    resource: tuple[tuple[str, str], ...]
    sampler: Sampler
    delay: float
    queue: int
    batch: int
    joins: bool

    def __repr__(self) -> str:
        return f"TraceSettings({self.endpoint})"


def trace_settings(environ: Mapping[str, str], warn: Warn) -> TraceSettings | None:
    """None where traces are off, or cannot be sent as they are asked for."""
    said = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_") and value.strip()}
    if said.get("OTEL_SDK_DISABLED", "").lower() == "true" or not _exports(said, warn):
        return None
    endpoint, protocol = _endpoint(said), _of_traces(said, "PROTOCOL") or _PROTOCOLS[0]
    try:
        parts = urlsplit(endpoint)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        usable = False
    if not usable:
        warn(f"no traces: {endpoint!r} is not an http:// or https:// address ({' or '.join(ENDPOINTS)})")
        return None
    if protocol not in _PROTOCOLS:
        warn(f"no traces: OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}; spoken here are {' and '.join(_PROTOCOLS)}")
        return None
    if parts.port == _GRPC_PORT:
        warn(
            f"traces go to {endpoint} over HTTP; {_GRPC_PORT} is a collector's port for gRPC mostly, and 4318 for HTTP"
        )
    return TraceSettings(
        endpoint=endpoint,
        protocol=protocol,
        headers=_pairs(_of_traces(said, "HEADERS"), "OTEL_EXPORTER_OTLP_HEADERS", warn),
        timeout=_number(said, "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, warn) / 1000,
        gzip=_gzip(said, warn),
        ca=_of_traces(said, "CERTIFICATE"),
        client_certificate=_of_traces(said, "CLIENT_CERTIFICATE"),
        client_key=_of_traces(said, "CLIENT_KEY"),
        resource=_resource(said, warn),
        sampler=_sampler(said, warn),
        delay=_number(said, "OTEL_BSP_SCHEDULE_DELAY", "", 5000, warn) / 1000,
        queue=int(_number(said, "OTEL_BSP_MAX_QUEUE_SIZE", "", 2048, warn)),
        batch=int(_number(said, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "", 512, warn)),
        joins=_joins(said, warn),
    )


def _exports(said: Mapping[str, str], warn: Warn) -> bool:
    """Whether OTEL_TRACES_EXPORTER, a list, lets traces go out; what else somebody may wait for in vain is said."""
    for signal, instead in (("METRICS", "metrics are at /metrics"), ("LOGS", "the log is on stderr")):
        if (asked := said.get(f"OTEL_{signal}_EXPORTER", "none")) not in ("none", "prometheus"):
            warn(f"OTEL_{signal}_EXPORTER is {asked!r}, which has no effect: {instead}")
    text = said.get("OTEL_TRACES_EXPORTER", "otlp")
    exporters = {each.strip() for each in text.split(",")}
    if exporters - {"otlp", "none"}:
        none = "" if "otlp" in exporters else "no traces: "
        warn(f"{none}OTEL_TRACES_EXPORTER is {text!r}; only otlp is spoken here")
    return "otlp" in exporters


def _gzip(said: Mapping[str, str], warn: Warn) -> bool:
    asked = _of_traces(said, "COMPRESSION")
    if asked not in _COMPRESSIONS:
        warn(f"OTEL_EXPORTER_OTLP_COMPRESSION is {asked!r}, none is taken")
    return asked == "gzip"


def _joins(said: Mapping[str, str], warn: Warn) -> bool:
    asked = [each.strip() for each in said.get("OTEL_PROPAGATORS", _PROPAGATOR).split(",")]
    if others := [each for each in asked if each not in _WITHOUT_EFFECT]:
        warn(f"OTEL_PROPAGATORS: {', '.join(map(repr, others))} is not known here, only {_PROPAGATOR} is")
    return _PROPAGATOR in asked


def _of_traces(said: Mapping[str, str], name: str) -> str:
    """The variable for traces, else the one for all signals."""
    return said.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or said.get(f"OTEL_EXPORTER_OTLP_{name}", "")


def _endpoint(said: Mapping[str, str]) -> str:
    """The one for traces is used as it is, the common one is a base."""
    return said.get(ENDPOINTS[0]) or f"{said.get(ENDPOINTS[1], _USUAL_ENDPOINT).rstrip('/')}/v1/traces"


def _pairs(text: str, variable: str, warn: Warn) -> tuple[tuple[str, str], ...]:
    """Of ``key=value,key=value``, percent-encoded as in W3C Baggage."""
    found = []
    for each in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = each.partition("=")
        key, value = unquote(key.strip()), unquote(value.strip())
        if not equals or not key or not f"{key}{value}".isprintable():
            warn(f"{variable}: an entry that is not KEY=VALUE is left out")
            continue
        found.append((key, value))
    return tuple(found)


def _resource(said: Mapping[str, str], warn: Warn) -> tuple[tuple[str, str], ...]:
    variable = "OTEL_RESOURCE_ATTRIBUTES"
    found = {
        "service.name": "mbuild",
        "telemetry.sdk.name": "mbuild",
        "telemetry.sdk.language": "python",
        "telemetry.sdk.version": VERSION,
        **dict(_pairs(said.get(variable, ""), variable, warn)),
    }
    if name := said.get("OTEL_SERVICE_NAME"):
        found["service.name"] = name
    return tuple(found.items())


def _sampler(said: Mapping[str, str], warn: Warn) -> Sampler:
    name = said.get("OTEL_TRACES_SAMPLER", _USUAL_SAMPLER)
    if name.removeprefix("parentbased_") not in _SAMPLERS:
        warn(f"OTEL_TRACES_SAMPLER: {name!r} is not known here, {_USUAL_SAMPLER} is taken")
        name = _USUAL_SAMPLER
    ratio = _number(said, "OTEL_TRACES_SAMPLER_ARG", "", 1.0, warn) if name.endswith("ratio") else 1.0
    if ratio > 1:
        warn("OTEL_TRACES_SAMPLER_ARG is more than 1, 1 is taken")
    return sampler(name, min(1.0, ratio))


def _number(said: Mapping[str, str], name: str, common: str, default: float, warn: Warn) -> float:
    text = said.get(name) or said.get(common, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1
    if 0 <= value < float("inf") and not (default > 1 and value < 1):
        return value
    warn(f"{name if name in said else common} is {text!r}, {default:g} is taken")
    return default
