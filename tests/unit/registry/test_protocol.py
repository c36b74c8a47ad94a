"""The small pieces of the protocol: challenges, refusals, waiting, addresses."""

from __future__ import annotations

import pytest

from builder.host.http import redacted
from builder.host.proxy import is_loopback
from builder.registry.auth import parse_challenges
from builder.registry.endpoint import _without_port
from builder.registry.errors import RegistryBusy, RegistryRefused, asked_wait, oci_errors
from builder.registry.retry import ATTEMPTS, Retry
from tests.support.hosts import ImpatientClock, RecordedEvents


def test_a_bearer_challenge_with_commas_in_its_scope() -> None:
    header = 'Bearer realm="https://auth.example/token",service="r.example",scope="repository:a/b:pull,push"'
    (challenge,) = parse_challenges(header)
    assert challenge.scheme == "bearer"
    assert challenge.parameters == {
        "realm": "https://auth.example/token",
        "service": "r.example",
        "scope": "repository:a/b:pull,push",
    }


def test_several_challenges_in_one_header() -> None:
    challenges = parse_challenges(r'Basic realm="a \"quoted\" realm", Bearer realm=https://x/t , service=s, Negotiate')
    assert [challenge.scheme for challenge in challenges] == ["basic", "bearer", "negotiate"]
    assert challenges[0].parameters == {"realm": 'a "quoted" realm'}
    assert challenges[1].parameters["service"] == "s"


@pytest.mark.parametrize("header", ["", "=", '"', 'realm="x"'])
def test_no_challenge_at_all(header: str) -> None:
    assert parse_challenges(header) == ()


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"errors": 1}', b'{"errors": [1]}', b'{"errors": null}'])
def test_a_body_that_is_not_the_spec_s_has_no_codes(body: bytes) -> None:
    assert oci_errors(body) == ()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "a.localhost"])
def test_this_machine_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.example", "10.0.0.1", "registry.example", "0.0.0.0", ""])
def test_every_other_machine_is_not(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("host", "without"),
    [("localhost:5000", "localhost"), ("localhost", "localhost"), ("[::1]:5000", "[::1]"), ("[::1]", "[::1]")],
)
def test_the_port_is_taken_off(host: str, without: str) -> None:
    assert _without_port(host) == without


def test_a_url_is_shown_without_what_is_secret() -> None:
    assert redacted("https://ada:pw@r.example:5000/v2/x?token=s#f") == "https://r.example:5000/v2/x"


def busy(**facts: object) -> RegistryBusy:
    return RegistryBusy(verb="GET", url="u", status=503, oci_codes=(), reason="r", temporary=True, **facts)


def test_a_retry_ends() -> None:
    clock, calls = ImpatientClock(), []

    def call() -> None:
        calls.append(1)
        raise busy()

    with pytest.raises(RegistryBusy):
        Retry(clock)(call)
    assert (len(calls), clock.waits) == (ATTEMPTS, [0.5, 1.0, 2.0])


def test_a_wait_that_was_asked_for_is_kept() -> None:
    clock, sink, answers = ImpatientClock(), RecordedEvents(), [busy(retry_after=120.0)]

    def call() -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert Retry(clock, sink)(call) == "done"
    assert clock.waits == [120.0]
    assert "the next try is in 120 s" in str(sink.events)


def test_nobody_waits_for_an_hour_nor_tries_before_it_is_over() -> None:
    clock = ImpatientClock()

    def call() -> None:
        raise busy(retry_after=3600.0)

    with pytest.raises(RegistryBusy):
        Retry(clock)(call)
    assert clock.waits == []


def test_failures_before_some_progress_do_not_count() -> None:
    clock = ImpatientClock()
    patience = Retry(clock).patience()
    for _ in range(10):
        patience.endure(busy())
        patience.renew()
    assert clock.waits == [0.5] * 10


@pytest.mark.parametrize(
    ("retry_after", "date", "wait"),
    [
        ("7", "", 7.0),
        ("Sat, 21 Nov 2026 07:28:00 GMT", "Sat, 21 Nov 2026 07:27:30 GMT", 30.0),
        ("Sat, 21 Nov 2026 07:28:00 GMT", "Sat, 21 Nov 2026 07:29:00 GMT", 0.0),
        ("Sat, 21 Nov 2026 07:28:00 GMT", "", None),
        ("soon", "Sat, 21 Nov 2026 07:27:30 GMT", None),
        ("", "", None),
    ],
)
def test_retry_after_in_both_its_forms(retry_after: str, date: str, wait: float | None) -> None:
    assert asked_wait(retry_after, date) == wait


def test_what_does_not_pass_is_not_tried_again() -> None:
    clock = ImpatientClock()

    def call() -> None:
        raise RegistryRefused(verb="PUT", url="u", status=400, oci_codes=(), reason="r")

    with pytest.raises(RegistryRefused):
        Retry(clock)(call)
    assert clock.waits == []
