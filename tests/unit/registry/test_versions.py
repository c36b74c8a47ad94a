"""Which tags are versions, which do not move."""

from __future__ import annotations

import pytest

from builder.registry.versions import is_version


@pytest.mark.parametrize("tag", ["1.0.0", "v1.2.3", "0.0.1", "10.20.30-rc.1", "1.0.0-cuda13"])
def test_a_whole_version_does_not_move(tag: str) -> None:
    assert is_version(tag)


@pytest.mark.parametrize("tag", ["", "latest", "1", "1.2", "v1", "01.2.3", "1.2.3.4", "2026-01-01", "x1.2.3"])
def test_other_tags_go_where_they_are_pushed(tag: str) -> None:
    assert not is_version(tag)
