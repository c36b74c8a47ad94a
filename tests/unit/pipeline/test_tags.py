"""An image with several names, in several registries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builder.oci.reference import Reference
from builder.pipeline.build import _pushing
from builder.plan.spec import IN_THE_CACHE
from builder.registry.credentials import Purpose, find_credentials
from tests.support.hosts import real_host

TAGS = tuple(map(Reference.parse, ("one.example/digits:1", "two.example/digits:1")))
LOGIN = {"MBUILD_REGISTRY_USERNAME": "me", "MBUILD_REGISTRY_PASSWORD": "secret"}


def known_to(tmp_path: Path, **environ: str) -> list[str]:
    """The registries that get the password of the environment."""
    host = real_host(tmp_path / "cache", {**LOGIN, "DOCKER_CONFIG": str(tmp_path), **environ})
    host = _pushing(replace(IN_THE_CACHE, push=True, tags=TAGS), host)
    return [tag.registry for tag in TAGS if find_credentials(tag.registry, Purpose.PUSH, host)]


def test_a_password_goes_to_the_registry_of_the_first_name_only(tmp_path: Path) -> None:
    assert known_to(tmp_path) == ["one.example"]


def test_or_to_the_one_that_is_named(tmp_path: Path) -> None:
    assert known_to(tmp_path, MBUILD_REGISTRY="two.example") == ["two.example"]


def test_the_first_name_is_the_tag() -> None:
    assert replace(IN_THE_CACHE, tags=TAGS).tag == TAGS[0]
    assert IN_THE_CACHE.tag is None
