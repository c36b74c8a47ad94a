"""The cases that Debian policy 5.6.12 and dpkg's own test suite (lib/dpkg/t/t-version.c) document."""

from __future__ import annotations

import pytest

from builder.base.version import DebianVersion, MalformedVersion

ASCENDING = [
    ("~~", "~~a"),
    ("~~a", "~"),
    ("~", "0"),
    ("1.0~beta1~svn1245", "1.0~beta1"),
    ("1.0~beta1", "1.0"),
    ("1.0", "1.0+b1"),
    ("1.0-1", "1.0-1+b1"),
    ("1.2.3", "1.2.10"),
    ("1.0", "1.0a"),
    ("1.0a", "1.0."),
    ("1.0a", "1.0+"),
    ("9.9-9", "1:0.1-1"),
    ("0:0-0a", "0:0-0+"),
    ("3.13.5-2", "3.13.5-2+deb13u5"),
    ("1:1.3.dfsg+really1.3.1-1+b1", "1:1.3.dfsg+really1.3.1-1+deb13u1"),
    ("2.8.3-1~deb13u1", "2.8.3-1"),
    ("0:1.18.36:5.4", "0:1.18.36:5.5"),
]


@pytest.mark.parametrize(("smaller", "larger"), ASCENDING)
def test_order(smaller: str, larger: str) -> None:
    assert DebianVersion(smaller) < DebianVersion(larger)
    assert not DebianVersion(larger) < DebianVersion(smaller)


@pytest.mark.parametrize(
    ("one", "other"), [("1.0", "1.0-0"), ("0:1.0", "1.0"), ("1.0-1", "1.0-01"), ("1.", "1.0"), ("1.0a", "1.0a0")]
)
def test_equal_versions_are_equal_and_hash_alike(one: str, other: str) -> None:
    assert DebianVersion(one) == DebianVersion(other)
    assert hash(DebianVersion(one)) == hash(DebianVersion(other))


@pytest.mark.parametrize(
    ("text", "upstream"), [("3.13.5-2+deb13u5", "3.13.5"), ("1:1.3.dfsg+really1.3.1-1", "1.3.dfsg+really1.3.1")]
)
def test_upstream_part(text: str, upstream: str) -> None:
    assert DebianVersion(text).upstream == upstream


@pytest.mark.parametrize("text", ["", "1.0 ", "a b", "x:1", "1.0_2", "1:", "1.18:5"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(MalformedVersion):
        DebianVersion(text)
