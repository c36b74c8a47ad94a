"""Spans as an ExportTraceServiceRequest of OTLP 1, in JSON or in protobuf (opentelemetry-proto, trace/v1/trace.proto).

Written by hand: the message is small and its numbers are stable by promise, the SDK is larger than this server.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from .spans import Span, Value

SCOPE = "mbuild-serve"
_VARINT, _FIXED64, _BYTES = 0, 1, 2


def as_json(spans: Iterable[Span], resource: Mapping[str, Value], version: str) -> bytes:
    """64-bit numbers are text and identifiers hexadecimal, as OTLP has it."""
    scope = {"scope": {"name": SCOPE, "version": version}, "spans": [_span_json(span) for span in spans]}
    request = {"resourceSpans": [{"resource": {"attributes": _json(resource.items())}, "scopeSpans": [scope]}]}
    return json.dumps(request, separators=(",", ":")).encode()


def as_protobuf(spans: Iterable[Span], resource: Mapping[str, Value], version: str) -> bytes:
    scope = _text(1, SCOPE) + _text(2, version)
    scoped = _part(1, scope) + b"".join(_part(2, _span_protobuf(span)) for span in spans)
    attributes = b"".join(_part(1, _pair(*each)) for each in resource.items())
    return _part(1, _part(1, attributes) + _part(2, scoped))


def _span_json(span: Span) -> dict[str, Any]:
    found: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "name": span.name,
        "kind": span.kind,
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _json(span.attributes),
        "events": [{"name": name, "timeUnixNano": str(at)} for name, at in span.events],
        "status": {"code": span.status} if span.status else {},
    }
    if span.parent_id:
        found["parentSpanId"] = span.parent_id
    if span.state:
        found["traceState"] = span.state
    return found


def _json(attributes: Iterable[tuple[str, Value]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value_json(value)} for key, value in attributes]


def _value_json(value: Value) -> dict[str, Value]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def _span_protobuf(span: Span) -> bytes:
    return b"".join(
        (
            _part(1, bytes.fromhex(span.trace_id)),
            _part(2, bytes.fromhex(span.span_id)),
            _text(3, span.state),
            _part(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
            _text(5, span.name),
            _number(6, span.kind),
            _fixed64(7, span.start_ns),
            _fixed64(8, span.end_ns),
            *(_part(9, _pair(*each)) for each in span.attributes),
            *(_part(11, _fixed64(1, at) + _text(2, name)) for name, at in span.events),
            _part(15, _number(3, span.status) if span.status else b""),
        )
    )


def _pair(key: str, value: Value) -> bytes:
    if isinstance(value, bool):
        said = _number(2, int(value))
    elif isinstance(value, int):
        said = _number(3, value)
    elif isinstance(value, float):
        said = _key(4, _FIXED64) + struct.pack("<d", value)
    else:
        said = _part(1, value.encode("utf-8", "replace"))
    return _text(1, key) + _part(2, said)


def _varint(number: int) -> bytes:
    number &= 2**64 - 1  # negative ones in two's complement
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _number(field: int, number: int) -> bytes:
    return _key(field, _VARINT) + _varint(number)


def _fixed64(field: int, number: int) -> bytes:
    return _key(field, _FIXED64) + struct.pack("<Q", number)


def _part(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _part(field, text.encode("utf-8", "replace")) if text else b""
