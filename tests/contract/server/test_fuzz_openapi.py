"""What the server says of itself in /openapi.json, asked by schemathesis: nothing that it can think of is our mistake,
and every answer is one that the document announces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, status_code_conformance

from tests.support.onnx_models import mlp, place, two_inputs
from tests.support.servers import ask, running

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance]


@pytest.fixture(scope="module")
def few_models(server_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("few")
    place(models, "mlp", mlp())
    place(models, "two", two_inputs())
    with running(server_source, models) as server:
        yield server.ready().address
        server.send_signal()
        assert server.exit_code() == 0
        assert not [event for event in server.events if event["level"] == "error"]


def test_no_answer_is_a_surprise(few_models: str) -> None:
    schema = schemathesis.openapi.from_url(f"http://{few_models}/openapi.json")
    statuses = Counter[tuple[str, int]]()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path.endswith("/infer"):
            for mode in GenerationMode:
                statuses += asked(operation, mode, 25)
        else:
            statuses += asked(operation, GenerationMode.POSITIVE, 3)
    assert statuses["GET", 200] and statuses["POST", 200] and statuses["POST", 400]
    assert ask(few_models, "GET", "/v2/health/ready").status == 200


def asked(operation: schemathesis.APIOperation[Any], mode: GenerationMode, examples: int) -> Counter[tuple[str, int]]:
    """How often each status came."""
    statuses = Counter[tuple[str, int]]()

    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy(generation_mode=mode))
    def answered(case: schemathesis.Case) -> None:
        statuses[case.method, case.call_and_validate(checks=CHECKS, timeout=60).status_code] += 1

    answered()
    return statuses
