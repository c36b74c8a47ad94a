"""Relations between packages, and the closure over them."""

from __future__ import annotations

import pytest

from builder.base.packages import MalformedIndex, PackageIndex, Relation, parse_relations
from builder.base.resolver import ConflictingPackages, UnknownPackage, UnsatisfiedDependency, close


def index(*stanzas: str, archive: str = "debian") -> PackageIndex:
    found = PackageIndex()
    full = [
        f"Package: {stanza.strip()}\nFilename: pool/{number}.deb\nSize: 1\nSHA256: {'0' * 64}"
        for number, stanza in enumerate(stanzas)
    ]
    found.add("\n\n".join(full) + "\n", archive)
    return found


def closure(found: PackageIndex, *roots: str, excluded: tuple[str, ...] = ()) -> list[str]:
    return [package.name for package in close(roots, found, excluded=excluded, architecture="amd64")]


def test_relations_are_read_as_policy_writes_them() -> None:
    assert parse_relations("libc6 (>= 2.38), media-types | mime-support,\n python3:any (<< 4~) ,") == (
        (Relation(name="libc6", operator=">=", version="2.38"),),
        (Relation(name="media-types"), Relation(name="mime-support")),
        (Relation(name="python3", architecture="any", operator="<<", version="4~"),),
    )
    with pytest.raises(MalformedIndex):
        parse_relations("libc6 (about 2.38)")


def test_depends_and_pre_depends_are_followed_and_recommends_are_not() -> None:
    found = index(
        "a\nVersion: 1\nDepends: b\nRecommends: d",
        "b\nVersion: 1\nPre-Depends: c (>= 1:2)",
        "c\nVersion: 1:2-1",
        "d\nVersion: 1",
    )
    assert closure(found, "a") == ["a", "b", "c"]


def test_the_first_alternative_that_can_be_had_is_taken() -> None:
    found = index("a\nVersion: 1\nDepends: gone | old (>= 2) | here", "old\nVersion: 1", "here\nVersion: 1")
    assert closure(found, "a") == ["a", "here"]


def test_an_alternative_that_is_chosen_already_settles_the_group() -> None:
    found = index("a\nVersion: 1\nDepends: x | b", "b\nVersion: 1", "x\nVersion: 1")
    assert closure(found, "a", "b") == ["a", "b"]


def test_a_virtual_package_is_satisfied_by_a_provider_and_by_its_version_only_where_it_gives_one() -> None:
    found = index("a\nVersion: 1\nDepends: libssl3 (>= 3)", "libssl3t64\nVersion: 3.5\nProvides: libssl3 (= 3.5)")
    assert closure(found, "a") == ["a", "libssl3t64"]
    found = index("a\nVersion: 1\nDepends: awk (>= 1)", "gawk\nVersion: 5\nProvides: awk")
    with pytest.raises(UnsatisfiedDependency) as caught:
        closure(found, "a")
    assert "a depends on awk (>= 1)" in str(caught.value)


def test_an_excluded_name_counts_as_satisfied() -> None:
    found = index("a\nVersion: 1\nPre-Depends: awk, debconf (>= 0.5) | debconf-2.0", "awk\nVersion: 1")
    assert closure(found, "a", excluded=("awk", "debconf")) == ["a"]


def test_architectures_in_names() -> None:
    found = index("a\nVersion: 1\nDepends: b:any, c:amd64, d:native", *(f"{n}\nVersion: 1" for n in "bcd"))
    assert closure(found, "a") == ["a", "b", "c", "d"]
    foreign = index("a\nVersion: 1\nDepends: b:i386", "b\nVersion: 1")
    with pytest.raises(UnsatisfiedDependency):
        closure(foreign, "a")


def test_the_newest_version_of_all_archives_wins() -> None:
    found = index("a\nVersion: 1.0-1+deb13u2")
    found.add(f"Package: a\nVersion: 1.0-1+deb13u10\nFilename: s.deb\nSize: 1\nSHA256: {'1' * 64}\n", "debian-security")
    (package,) = close(["a"], found, excluded=(), architecture="amd64")
    assert (str(package.version), package.archive) == ("1.0-1+deb13u10", "debian-security")


def test_conflicts_within_the_closure_are_refused_but_not_with_what_a_package_provides_itself() -> None:
    clash = index("a\nVersion: 1\nDepends: b\nBreaks: b (<< 3)", "b\nVersion: 2")
    with pytest.raises(ConflictingPackages):
        closure(clash, "a")
    fine = index("a\nVersion: 1\nConflicts: mta\nProvides: mta", "b\nVersion: 2")
    assert closure(fine, "a", "b") == ["a", "b"]


def test_unknown_roots_are_named() -> None:
    with pytest.raises(UnknownPackage, match="no package nothing"):
        closure(index("a\nVersion: 1"), "nothing")
