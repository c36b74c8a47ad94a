"""What a client is told, and what is counted, of a request that failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from builder.serve.http.answers import Refusal
from builder.serve.models.call import refusal_for


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (Refusal(400, "the input 'x' is missing"), 400, "OTHER"),
        (MemoryError(), 503, "BACKEND"),
        (ZeroDivisionError("a mistake of ours"), 500, "BACKEND"),
    ],
)
def test_only_what_the_client_did_wrong_spares_the_error_budget(error: Exception, status: int, reason: str) -> None:
    logged: list[str] = []
    inference: Any = SimpleNamespace(log=SimpleNamespace(failure=lambda message, *_, **__: logged.append(message)))
    served: Any = SimpleNamespace(model=SimpleNamespace(name="digits"))
    refusal = refusal_for(error, inference, served)
    assert (refusal.status, refusal.reason) == (status, reason)
    assert bool(logged) is (status == 500)
    assert "a mistake of ours" not in refusal.message
