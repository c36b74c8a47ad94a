"""The order of Debian versions is total, and agrees with policy's own algorithm written out step by step."""

from __future__ import annotations

import re
from itertools import zip_longest

from hypothesis import given
from hypothesis import strategies as st

from builder.base.version import DebianVersion

PARTS = st.text("01a9~+.Z", min_size=1, max_size=8)
VERSIONS = st.builds(
    lambda epoch, upstream, revision: f"{epoch}{upstream}{revision}",
    st.sampled_from(["", "0:", "1:"]),
    PARTS,
    st.one_of(st.just(""), PARTS.map("-{}".format)),
)


def rank(character: str) -> int:
    if character == "~":
        return -1
    if character == "":
        return 0
    return ord(character) if character.isalpha() else ord(character) + 256


def compare_parts(one: str, other: str) -> int:
    """Policy 5.6.12: the leading non-digits, then the leading number, again and again until both are used up."""
    while one or other:
        texts = [re.match(r"\D*", part)[0] for part in (one, other)]  # type: ignore[index]
        for left, right in zip_longest(*texts, fillvalue=""):
            if rank(left) != rank(right):
                return -1 if rank(left) < rank(right) else 1
        one, other = one[len(texts[0]) :], other[len(texts[1]) :]
        digits = [re.match(r"\d*", part)[0] for part in (one, other)]  # type: ignore[index]
        numbers = [int(each or 0) for each in digits]
        if numbers[0] != numbers[1]:
            return -1 if numbers[0] < numbers[1] else 1
        one, other = one[len(digits[0]) :], other[len(digits[1]) :]
    return 0


def by_policy(one: str, other: str) -> int:
    def split(text: str) -> tuple[int, str, str]:
        epoch, colon, rest = text.partition(":")
        rest = rest if colon else text
        upstream, dash, revision = rest.rpartition("-")
        return int(epoch) if colon else 0, upstream if dash else rest, revision if dash else ""

    (left_epoch, left, left_revision), (right_epoch, right, right_revision) = split(one), split(other)
    if left_epoch != right_epoch:
        return -1 if left_epoch < right_epoch else 1
    return compare_parts(left, right) or compare_parts(left_revision, right_revision)


@given(VERSIONS, VERSIONS)
def test_it_agrees_with_policy(one: str, other: str) -> None:
    expected = by_policy(one, other)
    left, right = DebianVersion(one), DebianVersion(other)
    assert ((left > right) - (left < right)) == expected
    assert (left == right) == (expected == 0)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_it_is_transitive(one: str, two: str, three: str) -> None:
    low, middle, high = sorted(map(DebianVersion, (one, two, three)))
    assert low <= middle <= high
    assert low <= high
