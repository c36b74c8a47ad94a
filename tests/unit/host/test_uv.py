"""pip's settings become uv's, where uv has none of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.host.run import Completed
from builder.host.uv import (
    IndexRefused,
    IndexUnreachable,
    Unsatisfiable,
    UvFailed,
    failure,
    translated,
    without_credentials,
)

NONE: frozenset[str] = frozenset()


def test_pip_settings_are_translated() -> None:
    pip = {
        "index-url": "https://u:p@one.example/simple",
        "extra-index-url": "https://two.example/simple\nhttps://three.example/simple",
        "find-links": "/wheels https://four.example/links",
        "cert": "/ca.pem",
        "client-cert": "/me.pem",
        "proxy": "http://proxy.example:3128",
        "trusted-host": "one.example",
        "timeout": "7",
        "no-index": "false",
    }
    assert translated({"PATH": "/bin"}, pip, NONE) == {
        "PATH": "/bin",
        "UV_DEFAULT_INDEX": "https://u:p@one.example/simple",
        "UV_INDEX": "https://two.example/simple https://three.example/simple",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_FIND_LINKS": "/wheels,https://four.example/links",
        "UV_INSECURE_HOST": "one.example",
        "UV_HTTP_TIMEOUT": "7",
        "SSL_CERT_FILE": "/ca.pem",
        "SSL_CLIENT_CERT": "/me.pem",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "HTTP_PROXY": "http://proxy.example:3128",
    }


def test_an_index_of_uv_replaces_those_of_pip_together() -> None:
    pip = {"index-url": "https://pip.example", "extra-index-url": "https://more.example", "find-links": "/wheels"}
    environ = translated({"UV_INDEX_URL": "https://uv.example"}, pip, NONE)
    assert environ == {"UV_INDEX_URL": "https://uv.example", "UV_FIND_LINKS": "/wheels"}


def test_so_do_the_settings_in_uv_files() -> None:
    pip = {"index-url": "https://pip.example", "find-links": "/wheels", "no-index": "yes"}
    assert translated({}, pip, frozenset({"index", "find-links"})) == {}


def test_the_environment_has_the_last_word_on_certificates_and_proxies() -> None:
    environ = {"SSL_CERT_FILE": "/mine.pem", "https_proxy": "http://mine.example"}
    assert translated(environ, {"cert": "/pip.pem", "proxy": "http://pip.example"}, NONE) == environ


def test_what_is_none_of_uvs_business_stays_out() -> None:
    environ = {
        "AWS_SECRET_ACCESS_KEY": "x",
        "VIRTUAL_ENV": "/venv",
        "UV_PYTHON": "3.9",
        "UV_PROJECT_ENVIRONMENT": "/p",
        "UV_EXCLUDE_NEWER": "2026-01-01",
    }
    assert translated(environ, {}, NONE) == {"UV_EXCLUDE_NEWER": "2026-01-01"}


def test_relative_find_links_become_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert translated({}, {"find-links": "wheels"}, NONE)["UV_FIND_LINKS"] == str(tmp_path / "wheels")


@pytest.mark.parametrize(
    ("stderr", "kind", "reason"),
    [
        (
            "error: No solution found when resolving dependencies\n"
            "  cause: Because there is no version of a==9 and you require a==9, we can conclude nothing.\n\n"
            "hint: You require CPython 3.13",
            Unsatisfiable,
            "Because there is no version of a==9 and you require a==9, we can conclude nothing. "
            "hint: You require CPython 3.13",
        ),
        (
            "error: Request failed after 3 retries\n"
            "  cause: Failed to fetch: https://u:secret@one.example/simple/a/\n  cause: dns error\n",
            IndexUnreachable,
            "Failed to fetch: https://one.example/simple/a/ (dns error)",
        ),
        ("error: x\n  cause: HTTP status client error (403 Forbidden) for url (https://a.example/)", IndexRefused, ""),
        ("error: something new", UvFailed, "error: something new"),
    ],
)
def test_a_failure_is_told_in_uvs_own_words(stderr: str, kind: type[Exception], reason: str) -> None:
    error = failure(Completed(argv=("uv",), returncode=1, stdout=b"", stderr=stderr.encode()))
    assert type(error) is kind
    assert reason in str(error)
    assert "secret" not in str(error) + error.advice


def test_credentials_are_taken_out_of_urls() -> None:
    assert (
        without_credentials("at https://me:p%40@a.example/x and http://b@c/") == "at https://a.example/x and http://c/"
    )
