"""Which servers are called through a proxy."""

from __future__ import annotations

import pytest

from builder.host.proxy import proxy_for

PROXY = {"HTTP_PROXY": "http://proxy:1", "https_proxy": "proxy:2"}


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("http://r.example/v2/", "http://proxy:1"),
        ("https://r.example/v2/", "http://proxy:2"),
        ("https://localhost:5000/v2/", ""),
        ("http://127.0.0.1:5000/v2/", ""),
        ("http://[::1]:5000/v2/", ""),
    ],
)
def test_by_scheme_and_never_for_this_machine(url: str, proxy: str) -> None:
    assert proxy_for(url, PROXY) == proxy
    assert proxy_for(url, {}) == ""


def test_all_proxy_is_for_what_has_none_of_its_own() -> None:
    environ = {"ALL_PROXY": "http://all:1", "HTTP_PROXY": "http://own:2"}
    assert proxy_for("https://r.example/", environ) == "http://all:1"
    assert proxy_for("http://r.example/", environ) == "http://own:2"


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("r.example", True),
        ("other.example, R.example", True),
        ("example", True),
        (".example", True),
        ("*.example", True),
        ("*", True),
        ("r.example:5000", True),
        ("r.example:5001", False),
        ("r.example.org", False),
        ("xr.example", False),
        ("ample", False),
        ("", False),
        (",", False),
    ],
)
def test_no_proxy_by_name(no_proxy: str, direct: bool) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        assert (proxy_for("https://r.example:5000/v2/", PROXY | {name: no_proxy}) == "") == direct


@pytest.mark.parametrize(
    ("no_proxy", "direct"),
    [
        ("10.1.2.3", True),
        ("10.1.0.0/16", True),
        ("10.2.0.0/16", False),
        ("10.1.2.3:80", True),
        ("10.1.2.3:81", False),
        ("10.1.0.0/99", False),
        ("fd00::/8", False),
        ("10.1", False),
    ],
)
def test_no_proxy_by_address(no_proxy: str, direct: bool) -> None:
    assert (proxy_for("http://10.1.2.3/v2/", PROXY | {"NO_PROXY": no_proxy}) == "") == direct
