"""The smallest GPU image there is, on machines without a GPU: what it does there, and how far its libraries get.

The driver is a stub (tests/support/stub_cuda.c) that shows a GPU and then has none: onnxruntime's CUDA provider must
load with all that it needs and stop there, nowhere earlier. The other images are proven by `make test-cuda`.
"""

from __future__ import annotations

import sys
from typing import Any

import pytest

from builder.host import Host
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from tests.scenarios.conftest import Mbuild
from tests.support.closures import unnoticed
from tests.support.cuda_images import GpuImageHere, ended, pretended
from tests.support.onnx_models import mlp

pytestmark = [
    pytest.mark.network,
    pytest.mark.skipif(
        sys.platform != "linux" or Platform.of_this_machine().architecture != "amd64", reason="runs an amd64 image"
    ),
]


@pytest.fixture(scope="module")
def built(host: Host, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Of dense layers only, so that nothing of cuDNN is packed."""
    place = tmp_path_factory.mktemp("cuda")
    (place / "mlp").mkdir()
    (place / "mlp" / "model.onnx").write_bytes(mlp().SerializeToString())
    output = place / "layout"
    arguments = (place / "mlp", "--target", "cuda13", "--output", output)
    return {**Mbuild(cache=host.store.root).json(*arguments, DOCKER_HOST="unix:///nowhere"), "layout": output}


@pytest.fixture(scope="module")
def image(built: dict[str, Any], host: Host, tmp_path_factory: pytest.TempPathFactory) -> GpuImageHere:
    return GpuImageHere.of(built["layout"], host, tmp_path_factory.mktemp("driver"))


def test_without_a_gpu_it_refuses_and_with_leave_the_cpu_answers(built: dict[str, Any]) -> None:
    report = built["test"]
    assert report["provider"] == "CPU (no GPU here)" and report["gpu_memory_bytes"] is None
    sentence = report["refused_without_gpu"]["sentence"]
    assert sentence.startswith(
        "This image needs an NVIDIA GPU, and the container sees no driver (libcuda.so.1 is not th"
    )
    assert report["cases"]
    checks = {check["name"]: check["passed"] for check in report["checks"]}
    assert {"fails-closed", "no-telemetry", "no-outbound", "no-writes", "libraries-present"} <= set(checks)
    assert all(checks.values())


def test_the_provider_loads_whole_and_stops_where_there_is_no_device(image: GpuImageHere) -> None:
    sentence = ended(image)
    assert "cannot be loaded on GPU 0: Stub GPU 0: CUDA failure 100: no CUDA-capable device is detected" in sentence


def test_a_library_that_is_missing_is_named(image: GpuImageHere) -> None:
    without = image.without("libcublasLt.so.13")
    assert "onnxruntime cannot use CUDAExecutionProvider: libcublasLt.so.13 is not there: look at" in ended(without)


def test_each_of_its_libraries_would_be_missed(built: dict[str, Any], host: Host) -> None:
    silent, tried = unnoticed(Layout(built["layout"]), host.store.root)
    assert tried > 10 and not silent


def test_a_session_that_cannot_be_on_the_gpu_is_on_the_cpu_where_that_was_allowed(
    image: GpuImageHere, host: Host
) -> None:
    with pretended(image, MBUILD_ALLOW_CPU="1") as (running, said):
        assert said["provider"] == "CPUExecutionProvider"
        assert "CUDA failure 100" in said["reason"]
        assert not running.outbound_attempts()
