"""Serves the model "double" over the Open Inference Protocol with the standard library alone, and misbehaves as the
variable MISBEHAVIOUR says. It runs inside test images."""

import json
import os
import signal
import socket
import struct
import sys
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer

MISBEHAVIOUR = os.environ.get("MISBEHAVIOUR", "")
OFFSET = 0.5 if MISBEHAVIOUR == "wrong-number" else 0.0


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.answer(503 if MISBEHAVIOUR == "never-ready" else 200, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if MISBEHAVIOUR == "dies-in-use":
            print("about to die", flush=True)
            os._exit(3)
        size = int(self.headers.get("Inference-Header-Content-Length", len(body)))
        request, rest = json.loads(body[:size]), body[size:]
        values = {}
        for tensor in request["inputs"]:
            used = tensor.get("parameters", {}).get("binary_data_size")
            values[tensor["name"]] = decode(tensor, rest[: used or 0]) if used is not None else tensor["data"]
            values[tensor["name"] + ":shape"] = tensor["shape"]
            rest = rest[used or 0 :]
        if MISBEHAVIOUR == "refuses":
            self.answer(400, b'{"error": "no such tensor"}')
        else:
            self.infer(request, values)

    def infer(self, request, values):
        doubled = [2 * value for value in values["x"]]
        doubled[-1] += OFFSET
        twice = [word * 2 for word in values["words"]]
        shapes = {"y": values["x:shape"], "twice": values["words:shape"]}
        outputs, tail = [], b""
        for wanted in request["outputs"]:
            name, data = wanted["name"], doubled if wanted["name"] == "y" else twice
            tensor = {"name": name, "shape": shapes[name], "datatype": "FP32" if name == "y" else "BYTES"}
            if wanted["parameters"]["binary_data"]:
                raw = encode(data)
                tail += raw
                tensor["parameters"] = {"binary_data_size": len(raw)}
            else:
                tensor["data"] = data
            outputs.append(tensor)
        head = json.dumps({"model_name": "double", "outputs": outputs}).encode()
        self.answer(200, head + tail, {"Inference-Header-Content-Length": str(len(head))} if tail else {})

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Quiet(ThreadingHTTPServer):
    """Without the lookup of its own name, which would leave the container."""

    def server_bind(self):
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address


def decode(tensor, raw):
    if tensor["datatype"] == "FP32":
        return list(struct.unpack(f"<{len(raw) // 4}f", raw))
    words = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        words.append(raw[4 : 4 + length].decode())
        raw = raw[4 + length :]
    return words


def encode(data):
    if isinstance(data[0], float):
        return struct.pack(f"<{len(data)}f", *data)
    return b"".join(struct.pack("<I", len(word.encode())) + word.encode() for word in data)


def stop(*_):
    print("stopping", flush=True)
    os._exit(0)


def misbehave():
    if MISBEHAVIOUR == "exits-early":
        print("the model is broken", flush=True)
        sys.exit(4)
    if MISBEHAVIOUR == "calls-out":
        with suppress(OSError):
            socket.create_connection(("192.0.2.1", 443), timeout=1)
    if MISBEHAVIOUR == "writes":
        try:
            Path("/models/cache").write_text("x")
        except OSError as error:
            print(error, flush=True)
    if MISBEHAVIOUR == "hungry":
        kept = [bytearray(b"x" * (1 << 20)) for _ in range(4096)]
        print(len(kept))


signal.signal(signal.SIGTERM, signal.SIG_IGN if MISBEHAVIOUR == "deaf" else stop)
print("starting", flush=True)
misbehave()
Quiet(("0.0.0.0", 8000), Server).serve_forever()
