"""A collector of traces that a server exports to: OTLP/HTTP, read by OpenTelemetry's own messages."""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


def from_json(content: bytes) -> ExportTraceServiceRequest:
    """OTLP's JSON is protobuf's but for identifiers, which are hexadecimal; unknown fields are an error."""
    document = json.loads(content)
    for span in (span for part in document["resourceSpans"] for scope in part["scopeSpans"] for span in scope["spans"]):
        for name in ("traceId", "spanId", "parentSpanId"):
            if name in span:
                span[name] = base64.b64encode(bytes.fromhex(span[name])).decode()
    return json_format.ParseDict(document, ExportTraceServiceRequest())


def from_protobuf(content: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(content)


def attributes(message: Any) -> dict[str, Any]:
    """Of a span or a resource."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in message.attributes}


@dataclass
class Collector:
    """``statuses`` are answered first, then 200; ``refused`` counts what was not answered 200."""

    port: int = 0
    statuses: list[int] = field(default_factory=list)
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    refused: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def spans(self) -> list[Span]:
        return [
            span for each in self.requests for part in each.resource_spans for s in part.scope_spans for span in s.spans
        ]

    def wait_for(self, count: int, seconds: float = 30) -> list[Span]:
        """The spans, once there are so many."""
        end = time.monotonic() + seconds
        while len(self.spans) < count:
            assert time.monotonic() < end, f"{len(self.spans)} spans of {count}"
            time.sleep(0.02)
        return self.spans

    def take(self, path: str, headers: dict[str, str], content: bytes) -> int:
        if self.statuses:
            self.refused += 1
            return self.statuses.pop(0)
        if headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        read = {"application/json": from_json, "application/x-protobuf": from_protobuf}[headers["content-type"]]
        self.paths.append(path)
        self.headers.append(headers)
        self.requests.append(read(content))
        return 200


@contextmanager
def collecting(*statuses: int) -> Iterator[Collector]:
    collector = Collector(statuses=list(statuses))

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            status = collector.take(self.path, {name.lower(): value for name, value in self.headers.items()}, content)
            self.send_response(status)
            if status == 307:
                self.send_header("Location", f"{collector.endpoint}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        collector.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()
