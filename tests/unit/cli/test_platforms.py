"""What --platform comes to."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.cli.options import build_spec, read_platforms
from builder.oci.platform import MalformedPlatform, Platform
from builder.plan.spec import NO_OPTIONS

AMD64, ARM64 = Platform.parse("linux/amd64"), Platform.parse("linux/arm64")


@pytest.mark.parametrize(
    "given",
    [
        ["linux/arm64,linux/amd64"],
        ["linux/amd64", "linux/arm64"],
        ["linux/amd64, linux/x86_64", "linux/aarch64,linux/arm64"],
        ["linux/arm64/v8", "linux/amd64/v1"],
    ],
)
def test_repeated_or_with_commas_in_any_order(given: list[str]) -> None:
    assert read_platforms(given) == (AMD64, ARM64)


def test_without_any_it_is_this_machines() -> None:
    assert read_platforms([]) == read_platforms([""]) == (Platform.of_this_machine(),)


@pytest.mark.parametrize("given", [["linux/amd64,"], ["linux"], [",linux/amd64"]])
def test_a_mistake_is_named(given: list[str]) -> None:
    with pytest.raises(MalformedPlatform):
        read_platforms(given)


def test_a_spec_for_several_is_one_for_each() -> None:
    spec = build_spec(Path("m"), "cpu", "http", ["linux/arm64,linux/amd64"], "", None, False, NO_OPTIONS)
    assert spec.platforms == (AMD64, ARM64)
    assert [(one.platforms, one.model) for one in spec.each] == [((AMD64,), Path("m")), ((ARM64,), Path("m"))]
