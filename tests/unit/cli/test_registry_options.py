"""What the options of push, pull and copy come to."""

from __future__ import annotations

import io

import pytest

from builder.cli.options import HalfALogin, registry_settings


def test_nothing_said_is_nothing_set() -> None:
    assert registry_settings("r.example", "", False, False) == {}


def test_a_login_counts_for_its_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("with space \r\nand more"))
    assert registry_settings("r.example", "ada", True, False) == {
        "MBUILD_REGISTRY": "r.example",
        "MBUILD_REGISTRY_USERNAME": "ada",
        "MBUILD_REGISTRY_PASSWORD": "with space ",
    }


@pytest.mark.parametrize(("username", "password_stdin"), [("ada", False), ("", True)])
def test_half_a_login_is_refused(username: str, password_stdin: bool) -> None:
    with pytest.raises(HalfALogin, match=r"--(username|password-stdin) was given alone"):
        registry_settings("r.example", username, password_stdin, False)


@pytest.mark.parametrize(("before", "after"), [("", "r.example:1"), ("other", "other,r.example:1")])
def test_the_clear_is_allowed_for_one_more(monkeypatch: pytest.MonkeyPatch, before: str, after: str) -> None:
    monkeypatch.setenv("MBUILD_PLAIN_HTTP", before)
    assert registry_settings("r.example:1", "", False, True) == {"MBUILD_PLAIN_HTTP": after}
