"""A running server of the conformance suite, and how the tests ask it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from builder.oci.platform import Platform
from tests.contract.server.protocol.differences import DIFFERENCES
from tests.support.servers import Answer, ask
from tests.support.triton import PLATFORM

HEADER_LENGTH = "Inference-Header-Content-Length"
Value = TypeVar("Value")

WITH_TRITON = (
    pytest.mark.network,
    pytest.mark.skipif(Platform.of_this_machine() != PLATFORM, reason=f"Triton's wheel is for {PLATFORM}"),
)
"""What a test is marked with that asks Triton."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """``name`` is that of the server as ``--server`` has it."""

    name: str
    address: str

    @property
    def is_triton(self) -> bool:
        return self.name == "triton"

    def differs(self, difference: str, *, triton: Value, here: Value) -> Value:
        """What is expected of this server where the two differ; the difference must be a documented one."""
        assert difference in DIFFERENCES
        return triton if self.is_triton else here

    def alone(self, difference: str) -> None:
        """Says that only this server is asked, since the other differs; the difference must be a documented one."""
        assert difference in DIFFERENCES

    def ask(self, method: str, path: str) -> Answer:
        return ask(self.address, method, path)

    def get(self, path: str) -> Answer:
        return ask(self.address, "GET", path)

    def post(self, path: str, body: Any = b"", headers: Mapping[str, str] | None = None) -> Answer:
        return ask(self.address, "POST", path, body, headers)

    def infer(self, model: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        return self.post(f"/v2/models/{model}/infer", body, headers)

    def infer_binary(self, model: str, body: dict[str, Any], content: bytes) -> Answer:
        """JSON, then the tensors' bytes (the binary tensor data extension)."""
        text = json.dumps(body).encode()
        return self.infer(model, text + content, {HEADER_LENGTH: str(len(text))})


def outputs(answer: Answer) -> dict[str, dict[str, Any]]:
    """By name, the tensors of a response in JSON or binary; binary ones have their bytes as ``content``."""
    assert answer.status == 200, answer.body
    length = int(answer.headers.get(HEADER_LENGTH.lower(), len(answer.body)))
    response, rest = json.loads(answer.body[:length]), answer.body[length:]
    found = {}
    for output in response["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            output["content"], rest = rest[:size], rest[size:]
        found[output["name"]] = output
    assert not rest, "bytes that belong to no output"
    return found


def tensor(name: str, datatype: str, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **more}
