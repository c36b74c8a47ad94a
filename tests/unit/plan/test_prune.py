"""Globs of the rule table."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from builder.plan.prune import PruneRules, glob_pattern


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("usr/share/man/**", "usr/share/man/man1/a.1.gz", True),
        ("usr/share/man/**", "usr/share/manual", False),
        ("usr/lib/*/gconv/**", "usr/lib/aarch64-linux-gnu/gconv/A.so", True),
        ("usr/lib/*/gconv/**", "usr/lib/a/b/gconv/A.so", False),
        ("usr/share/doc/*", "usr/share/doc/a", True),
        ("usr/share/doc/*", "usr/share/doc/a/copyright", False),
        ("**/tests/**", "tests/a.py", True),
        ("**/tests/**", "usr/tests/a.py", True),
        ("a?.so", "ab.so", True),
        ("a.so", "axso", False),
        ("etc/issue*", "etc/issue.net", True),
    ],
)
def test_globs(glob: str, path: str, matches: bool) -> None:
    assert bool(glob_pattern(glob).fullmatch(path)) is matches


def test_keep_wins_over_prune() -> None:
    rules = PruneRules(prune={"usr/share/doc/**": "docs"}, keep={"usr/share/doc/*/copyright": "licences"})
    assert rules.pruned_by(PurePosixPath("/usr/share/doc/a/copyright")) is None
    assert rules.pruned_by(PurePosixPath("/usr/share/doc/a/README")) == "usr/share/doc/**"
    assert rules.pruned_by(PurePosixPath("/usr/bin/python3")) is None
