"""All GPU images: digests equal on a second build, closed, within their sizes, and refusing where there is no GPU.

Sizes are of the compressed layers without the model, in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from builder.oci.layout import Layout
from tests.scenarios.conftest import ROOT, Mbuild
from tests.support.closures import unnoticed
from tests.support.cuda_images import GpuImageHere, ended

MEGABYTE = 10**6
IMAGES = {
    ("cuda13", "huggingface-text"): 800 * MEGABYTE,
    ("cuda12", "huggingface-text"): 1350 * MEGABYTE,
    ("cuda13", "digits"): 1900 * MEGABYTE,
    ("cuda12", "digits"): 1900 * MEGABYTE,
}
"""A transformer, and a model with convolutions."""


@pytest.fixture(scope="module", params=IMAGES, ids="-".join)
def built(
    request: pytest.FixtureRequest, host: Host, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    target, example = request.param
    output = tmp_path_factory.mktemp("image") / "layout"
    words = (ROOT / "examples" / example, "--target", target, "--output", output)
    result = Mbuild(cache=host.store.root).json(*words, DOCKER_HOST="unix:///nowhere")
    yield {**result, "layout": output, "limit": IMAGES[request.param], "words": words[:3]}


def test_it_is_closed_and_refuses_without_a_gpu(built: dict[str, Any]) -> None:
    report = built["test"]
    assert report["provider"] == "CPU (no GPU here)"
    assert report["refused_without_gpu"]["sentence"].startswith("This image needs an NVIDIA GPU")
    assert report["cases"] and all(check["passed"] for check in report["checks"])


def test_its_size(built: dict[str, Any]) -> None:
    size = sum(layer["size"] for layer in built["layers"] if layer["role"] not in ("model", "weights"))
    assert size <= built["limit"], f"{size / MEGABYTE:.0f} MB"


def test_its_provider_loads_and_stops_where_there_is_no_device(
    built: dict[str, Any], host: Host, tmp_path: Path
) -> None:
    image = GpuImageHere.of(built["layout"], host, tmp_path)
    assert "CUDA failure 100: no CUDA-capable device is detected" in ended(image)


def test_each_of_its_libraries_would_be_missed(built: dict[str, Any], host: Host) -> None:
    silent, tried = unnoticed(Layout(built["layout"]), host.store.root)
    assert tried > 10 and not silent


def test_a_second_build_from_an_empty_cache_has_its_digest(built: dict[str, Any], tmp_path: Path) -> None:
    again = Mbuild(cache=tmp_path / "cache").json(*built["words"], "--no-test", "--output", tmp_path / "layout")
    assert again["image"]["digest"] == built["image"]["digest"]


def test_triton_refuses_and_serves_in_the_same_words(host: Host, tmp_path: Path) -> None:
    words = (ROOT / "examples" / "digits", "--target", "cuda12", "--server", "triton", "--output", tmp_path / "layout")
    report = Mbuild(cache=host.store.root).json(*words, DOCKER_HOST="unix:///nowhere")["test"]
    assert report["provider"] == "CPU (no GPU here)"
    assert report["refused_without_gpu"]["sentence"].startswith("This image needs an NVIDIA GPU")
    assert report["cases"] and all(check["passed"] for check in report["checks"])
