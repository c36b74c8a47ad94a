"""Credentials for a file of an index, by its origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.host.index_login import Login, find_login, without_login

FILE = "https://packages.example/files/a.whl"


@pytest.mark.parametrize(
    "environ",
    [
        {"UV_DEFAULT_INDEX": "https://me:p%40ss@packages.example/simple"},
        {"UV_INDEX": "https://other.example/simple https://me:p%40ss@packages.example:443/simple"},
        {
            "UV_INDEX": "our-own=https://packages.example/simple",
            "UV_INDEX_OUR_OWN_USERNAME": "me",
            "UV_INDEX_OUR_OWN_PASSWORD": "p@ss",
        },
    ],
)
def test_an_index_of_the_same_origin_has_them(environ: dict[str, str]) -> None:
    assert find_login(FILE, environ) == Login("me", "p@ss")


@pytest.mark.parametrize("other", ["http://packages.example", "https://packages.example:8443", "https://example"])
def test_another_origin_gets_nothing(other: str) -> None:
    environ = {"UV_DEFAULT_INDEX": "https://me:secret@packages.example/simple", "HOME": "/nonexistent"}
    assert find_login(f"{other}/files/a.whl", environ) is None


def test_a_netrc_has_them(tmp_path: Path) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine packages.example login me password secret\n")
    netrc.chmod(0o600)
    assert find_login(FILE, {"HOME": str(tmp_path)}) == Login("me", "secret")
    assert find_login("https://other.example/a.whl", {"HOME": str(tmp_path)}) is None


def test_uv_toml_has_them(tmp_path: Path) -> None:
    (tmp_path / "uv").mkdir()
    (tmp_path / "uv" / "uv.toml").write_text(
        '[[index]]\nname = "x"\nurl = "https://me:secret@packages.example/simple"\n'
    )
    assert find_login(FILE, {"XDG_CONFIG_HOME": str(tmp_path)}) == Login("me", "secret")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Login("me", "secret"))
    assert without_login("https://me:secret@packages.example:1/a") == "https://packages.example:1/a"
    assert Login("me", "ü").header == "Basic bWU6w7w="
