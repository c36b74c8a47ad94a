"""The limit of a tiny model: a server that does nothing (``constant.c``), which gives the right answer without looking
at the request. What it reaches is the client's own pace and that of the kernel."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.bench.serving.models import Model

_SOURCE = Path(__file__).with_suffix(".c")


def program(place: Path) -> Path:
    """Compiled below ``place``."""
    compiled = place / "constant"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cc", "-O2", "-o", compiled, _SOURCE], check=True)
    return compiled


def answer_of(model: Model) -> bytes:
    """As ours gives it, but for the date and how floats are written."""
    outputs = [
        {"name": name, "datatype": "FP32", "shape": list(array.shape), "data": array.ravel().tolist()}
        for name, array in model.expected.items()
    ]
    content = {"model_name": model.name, "model_version": "1", "outputs": outputs}
    body = json.dumps(content, separators=(",", ":")).encode()
    head = f"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body
