"""Registries that do not say what they have."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from builder.host import Host
from builder.registry.listing import NoCatalog, list_repositories
from tests.support.scripted_registry import ScriptedRegistry


@pytest.fixture
def registry() -> Iterator[ScriptedRegistry]:
    with ScriptedRegistry() as running:
        yield running


def test_a_registry_without_a_catalog_is_told_and_what_to_do(
    registry: ScriptedRegistry, make_host: Callable[..., Host], tmp_path: Path
) -> None:
    host = make_host(tmp_path / "cache", {"HOME": str(tmp_path)})
    with pytest.raises(NoCatalog, match=re.escape("status 404 of /v2/_catalog")) as caught:
        list_repositories(registry.name, host)
    assert f"mbuild ls {registry.name}/REPOSITORY" in caught.value.advice
