"""The binary tensor extension over real connections: whatever lengths, shapes and bytes a client makes up, in whatever
pieces and however many at once, each request has its own answer, none is a 5xx, and right ones stay right."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.support.infer_bodies import DATATYPES
from tests.support.raw_client import RawClient, Reply, post
from tests.support.servers import ask

Verdict = Callable[[Reply], bool]
HEADER_LENGTH = "Inference-Header-Content-Length"
FLOATS = st.lists(st.floats(width=32), max_size=6).map(lambda values: values[: len(values) // 2 * 2])
DIMS = st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64, 2**70])
LENGTHS = st.integers(0, 300) | st.sampled_from(["-1", "1e2", "0x10", "", " 5", "٣", "9" * 18, "9" * 30])
BYTES_ELEMENTS = st.sampled_from([b"\xff\xfe", b"ok", b"\xc3\x28", b"", "é".encode(), b"\xed\xa0\x80"])


def refused(reply: Reply) -> bool:
    return reply.status == 400 and bool(json.loads(reply.body)["error"])


def not_our_mistake(reply: Reply) -> bool:
    return reply.status == 200 or (reply.status in (400, 413) and bool(json.loads(reply.body)["error"]))


def framed(datatype: str, shape: list[int], content: bytes, **lies: Any) -> bytes:
    """A request in binary; ``size`` and ``length`` replace what would be true."""
    size = lies.get("size", len(content))
    entry = {"name": "x", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
    text = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()
    headers = {HEADER_LENGTH: str(lies.get("length", len(text)))}
    return post(
        f"/v2/models/identity_{datatype}/infer", text + content, {k: v for k, v in headers.items() if v.isascii()}
    )


class Framing(RuleBasedStateMachine):
    """``outbox`` is written and not yet sent; ``verdicts`` are what must be true of the answers still to come."""

    address: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.client = RawClient(self.address)
        self.outbox = b""
        self.verdicts: deque[Verdict] = deque()

    @rule(values=FLOATS | st.just([0.5] * 4))
    def right(self, values: list[float]) -> None:
        content = np.array(values, "<f4").tobytes()

        def same(reply: Reply) -> bool:
            text = reply.body[: int(reply.headers[HEADER_LENGTH.lower()])]
            shape = json.loads(text)["outputs"][0]["shape"]
            return reply.status == 200 and shape == [len(values) // 2, 2] and reply.body[len(text) :] == content

        self._say(framed("FP32", [len(values) // 2, 2], content), same)

    @rule(values=FLOATS)
    def right_in_json(self, values: list[float]) -> None:
        entry = {"name": "x", "datatype": "FP32", "shape": [len(values) // 2, 2], "data": values}
        body = json.dumps({"inputs": [entry]}).encode()

        def same(reply: Reply) -> bool:
            return reply.status == 200 and repr(json.loads(reply.body)["outputs"][0]["data"]) == repr(values)

        self._say(post("/v2/models/identity_FP32/infer", body), same)

    @rule(datatype=st.sampled_from(DATATYPES), length=LENGTHS, size=LENGTHS, content=st.binary(max_size=80))
    def lengths_that_lie(self, datatype: str, length: int | str, size: int | str, content: bytes) -> None:
        self._say(framed(datatype, [2, 2], content, length=length, size=size), not_our_mistake)

    @rule(datatype=st.sampled_from(DATATYPES), shape=st.lists(DIMS, max_size=4), content=st.binary(max_size=80))
    def shapes_that_do_not_multiply(self, datatype: str, shape: list[int], content: bytes) -> None:
        fits = len(shape) == 2 and all(0 <= dim < 4 for dim in shape)
        possible = fits or (len(shape) == 2 and math.prod(shape) == 0 and not content)
        self._say(framed(datatype, shape, content), not_our_mistake if possible else refused)

    @rule(content=st.binary(max_size=40))
    def the_same_text_before_other_bytes(self, content: bytes) -> None:
        self._say(framed("FP32", [2, 2], content, size=16), not_our_mistake if len(content) == 16 else refused)

    @rule(
        elements=st.lists(BYTES_ELEMENTS, min_size=1, max_size=3), lie=st.sampled_from([0, 0, 1, -1, 2**31, 2**32 - 8])
    )
    def strings(self, elements: list[bytes], lie: int) -> None:
        content = b"".join(struct.pack("<I", (len(each) + lie) % 2**32) + each for each in elements)
        text = b"".join(elements)
        wrong = lie == 0 and any(each in (b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80") for each in elements)
        self._say(framed("BYTES", [len(elements), 1], content), refused if wrong else not_our_mistake)
        self._say(post("/v2/models/identity_BYTES/infer", b'{"id": "' + text + b'"}'), refused)

    @rule(cuts=st.lists(st.integers(0, 2000), max_size=4))
    def send(self, cuts: list[int]) -> None:
        edges = sorted({0, len(self.outbox), *(min(cut, len(self.outbox)) for cut in cuts)})
        for start, end in itertools.pairwise(edges):
            self.client.send(self.outbox[start:end])
        self.outbox = b""

    @precondition(lambda self: self.verdicts)
    @rule()
    def answer(self) -> None:
        self.send([])
        reply, verdict = self.client.reply(), self.verdicts.popleft()
        assert verdict(reply), (reply, verdict)

    @rule(part=st.floats(0, 1, exclude_max=True))
    def leave_amid_a_request(self, part: float) -> None:
        self._answers()
        whole = framed("FP32", [4, 2], bytes(32))
        self.client.send(whole[: int(len(whole) * part)])
        self._again()

    @rule(junk=st.binary(min_size=1, max_size=60))
    def more_than_the_content_length(self, junk: bytes) -> None:
        """What comes after a request is the next one, and mostly is none; line breaks before one are not (RFC 9112)."""
        self._answers()
        last = b"GET /v2/health/live HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
        self.client.send(framed("FP32", [1, 2], bytes(8)) + junk + b"\r\n\r\n" + last)
        assert self.client.reply().status == 200
        with contextlib.suppress(EOFError):
            while True:
                assert self.client.reply().status in (200, 400, 404, 405, 408, 431)
        self._again()

    def teardown(self) -> None:
        self._answers()
        self.client.close()

    def _say(self, request: bytes, verdict: Verdict) -> None:
        self.outbox += request
        self.verdicts.append(verdict)

    def _answers(self) -> None:
        while self.verdicts:
            self.answer()

    def _again(self) -> None:
        self.client.close()
        self.client = RawClient(self.address)


def test_every_request_has_its_answer(address: str) -> None:
    machine = type("Machine", (Framing,), {"address": address})
    asked = settings(max_examples=60, stateful_step_count=30, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=asked)
    assert ask(address, "GET", "/v2/health/ready").status == 200
