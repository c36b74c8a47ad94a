"""An image for a GPU is not ready unless the GPU is what serves: each reason is one sentence, and nothing is silent.

The driver is a stub (tests/support/stub_cuda.c) and onnxruntime the CPU's, so this ends where a session would begin.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from tests.support.gpu_images import build_stub_driver, build_stub_plugin, write_gpu_json
from tests.support.onnx_models import identity, place
from tests.support.servers import ask, command, run, running

ALLOW = {"MBUILD_ALLOW_CPU": "1"}


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    array = np.array([1, 2], np.float32)
    case = GoldenCase(name="one", inputs={"x": array}, outputs={"y": array})
    place(tmp_path, "line", identity("FP32", ("n",)), cases=(case,))
    return tmp_path


@pytest.fixture
def gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"MBUILD_GPU_FACTS": str(write_gpu_json(tmp_path_factory.mktemp("gpu")))}


def refusal(source: Path, models: Path, *arguments: str, **environ: str) -> str:
    """The sentence, which is said twice: for people, and in the log."""
    finished = run(source, models, *arguments, **environ)
    lines = finished.stderr.splitlines()
    assert finished.returncode == 1 and "Traceback" not in finished.stderr
    logged = json.loads(lines[-1])
    assert logged["level"] == "error" and lines[-2] == logged["message"]
    return str(logged["message"])


def test_without_a_driver(server_source: Path, models: Path, gpu: dict[str, str]) -> None:
    assert refusal(server_source, models, **gpu) == (
        "This image needs an NVIDIA GPU, and the container sees no driver (libcuda.so.1 is not there): start the "
        "container with --gpus all (Docker) or a limit of nvidia.com/gpu (Kubernetes), or set MBUILD_ALLOW_CPU=1 to "
        "run on the CPU."
    )


@pytest.mark.parametrize(
    ("driver_says", "why"),
    [
        ({"STUB_CUDA_INIT": "100"}, "shows no GPU (cuInit: CUDA_ERROR_NO_DEVICE): start the container with --gpus all"),
        ({"STUB_CUDA_INIT": "802"}, "is not ready (cuInit: CUDA_ERROR_SYSTEM_NOT_READY): start the service nvidia-fab"),
        ({"STUB_CUDA_INIT": "999"}, "the driver does not work (cuInit: error 999): see that nvidia-smi works"),
        ({"STUB_CUDA_GPUS": ""}, "the driver is here, and shows no GPU: start"),
        (
            {"STUB_CUDA_VERSION": "12020"},
            "needs NVIDIA's driver 580.65.06 or newer; here is driver 580.95.05, for CUDA",
        ),
        (
            {"STUB_CUDA_GPUS": "7.0"},
            "GPU 0 (Stub GPU 0) has compute capability 7.0, and this image has code for 7.5, 8",
        ),
        ({"STUB_CUDA_GPUS": "7.0,8.6"}, "newer than 12.0: set MBUILD_GPU_DEVICE=1, which is one of those"),
        (
            {"STUB_CUDA_GPUS": "8.0,8.0", "MBUILD_GPU_DEVICE": "2"},
            "MBUILD_GPU_DEVICE is 2, and the GPUs here are 0 (St",
        ),
        ({"STUB_CUDA_CRASHES": "1"}, "NVIDIA's driver crashed when it was asked for its GPUs (exit code -6)"),
        (
            {},
            "Model 'line' cannot be loaded on GPU 0: Stub GPU 0: this onnxruntime does not have CUDAExecutionProvider",
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_what_the_driver_says(
    server_source: Path, models: Path, driver: Path, gpu: dict[str, str], driver_says: dict[str, str], why: str
) -> None:
    assert why in refusal(server_source, models, LD_LIBRARY_PATH=str(driver), **gpu, **driver_says)


RTX: dict[str, object] = {
    "target": "tensorrt",
    "provider": "nv_tensorrt_rtx",
    "capabilities": ["8.6", "8.9", "12.0"],
    "ptx": "",
}


def test_a_provider_that_is_a_plugin(server_source: Path, models: Path, driver: Path, tmp_path: Path) -> None:
    """It is loaded on the GPU that fits, and nowhere else; without it nothing is served."""

    def says(plugin: str, capability: str) -> str:
        facts = write_gpu_json(tmp_path, **RTX, plugin=plugin)
        stub = {"LD_LIBRARY_PATH": str(driver), "STUB_CUDA_GPUS": capability}
        return refusal(server_source, models, MBUILD_GPU_FACTS=str(facts), **stub)

    where = "Model 'line' cannot be loaded on GPU 0: Stub GPU 0: "
    library = str(build_stub_plugin(tmp_path))
    assert says(library, "8.9").startswith(f"{where}nv_tensorrt_rtx finds no GPU that it knows (below /sys/class/drm")
    assert f"{where}libnone.so cannot be used: libnone.so is not there: look at" in says("nowhere/libnone.so", "8.6")
    broken = tmp_path / "libbroken.so"
    broken.write_bytes(b"no library")
    assert f"{where}libbroken.so cannot be used: libbroken.so: " in says(str(broken), "12.0")
    assert "has compute capability 9.0, and this image has code for 8.6, 8.9, 12.0: run it on one" in says(
        library, "9.0"
    )


def test_tensorrt_is_served_or_nothing(server_source: Path, models: Path, driver: Path, tmp_path: Path) -> None:
    """It is not in the onnxruntime of this test: neither CUDA nor the CPU takes its place unasked."""
    facts = write_gpu_json(tmp_path, target="tensorrt10", provider="TensorrtExecutionProvider")
    stub = {"MBUILD_GPU_FACTS": str(facts), "LD_LIBRARY_PATH": str(driver), "STUB_CUDA_GPUS": "9.0"}
    why = "Model 'line' cannot be loaded on GPU 0: Stub GPU 0: this onnxruntime does not have TensorrtExecutionProvider"
    assert refusal(server_source, models, **stub).startswith(why)
    with running(server_source, models, **stub, **ALLOW) as server:
        ready = server.ready().event("ready")
        assert (ready["wanted_provider"], ready["provider"]) == ("TensorrtExecutionProvider", "CPUExecutionProvider")


def test_of_several_processes_one_says_it(server_source: Path, models: Path, gpu: dict[str, str]) -> None:
    finished = run(server_source, models, **gpu, MBUILD_PROCESSES="3")
    assert finished.returncode == 1
    assert finished.stderr.count('"message": "This image needs an NVIDIA GPU') == 1


def test_a_file_that_is_not_understood(server_source: Path, models: Path, tmp_path: Path) -> None:
    def says(file: Path) -> str:
        finished = run(server_source, models, MBUILD_GPU_FACTS=str(file))
        assert finished.returncode == 1
        return str(json.loads(finished.stderr.splitlines()[-1])["message"])

    assert says(tmp_path / "absent.json") == f"MBUILD_GPU_FACTS: {tmp_path / 'absent.json'} is not there."
    assert "is not of schema 1" in says(write_gpu_json(tmp_path, schema=2))
    assert "is not as expected" in says(write_gpu_json(tmp_path, cuda="newest"))


def test_the_self_test_is_no_way_around_it(server_source: Path, models: Path, gpu: dict[str, str]) -> None:
    refused = run(server_source, models, "selftest", **gpu)
    assert refused.returncode == 1 and refused.stderr.startswith("This image needs an NVIDIA GPU")
    allowed = run(server_source, models, "selftest", "--json", **gpu, **ALLOW)
    assert allowed.returncode == 0 and json.loads(allowed.stdout)["passed"]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_where_it_was_allowed_the_cpu_serves_and_says_so(
    server_source: Path, models: Path, gpu: dict[str, str], processes: str
) -> None:
    with running(server_source, models, **gpu, **ALLOW, MBUILD_PROCESSES=processes) as server:
        reason = "This image needs an NVIDIA GPU, and the container sees no driver (libcuda.so.1 is not there)."
        said = {"provider": "CPUExecutionProvider", "device": "CPU"}
        said |= {"wanted_provider": "CUDAExecutionProvider", "reason": reason}
        assert server.event("on the CPU (MBUILD_ALLOW_CPU)")["message"].endswith(reason)
        assert server.ready().event("ready").items() >= said.items()
        address = server.address
        assert ask(address, "GET", "/v2").json()["parameters"] == said
        metadata = ask(address, "GET", "/v2/models/line").json()
        assert (metadata["platform"], metadata["parameters"]) == ("onnxruntime_onnx", said)
        config = ask(address, "GET", "/v2/models/line/config").json()
        assert config["instance_group"][0]["kind"] == "KIND_CPU"
        assert config["parameters"]["wanted_provider"] == {"string_value": "CUDAExecutionProvider"}
        assert "\nmbuild_gpu_serves 0\n" in ask(address, "GET", "/metrics").body.decode()
        described = ask(address, "GET", "/openapi.json").json()["tags"]
        assert [tag["x-model"]["device"] for tag in described if "x-model" in tag] == [said]
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [2]}]}
        assert ask(address, "POST", "/v2/models/line/infer", body).json()["outputs"][0]["data"] == [2.0]


def test_a_session_that_is_not_on_the_gpu_falls_back_only_where_it_was_allowed(
    server_source: Path, models: Path, driver: Path, gpu: dict[str, str]
) -> None:
    with running(server_source, models, LD_LIBRARY_PATH=str(driver), **gpu, **ALLOW) as server:
        assert "does not have CUDAExecutionProvider" in server.ready().event("ready")["reason"]


def test_an_image_for_the_cpu_says_nothing_of_this(server_source: Path, models: Path) -> None:
    with running(server_source, models, **ALLOW) as server:
        address = server.ready().address
        assert "parameters" not in ask(address, "GET", "/v2/models/line").json()
        assert "parameters" not in ask(address, "GET", "/v2").json()
        assert b"gpu" not in ask(address, "GET", "/metrics").body


def test_the_driver_has_to_be_new_enough_by_its_own_version(
    server_source: Path, models: Path, gpu: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    old = build_stub_driver(tmp_path_factory.mktemp("old"), version="575.51.03")
    said = refusal(server_source, models, LD_LIBRARY_PATH=str(old), **gpu)
    assert "here is driver 575.51.03, for CUDA 13.0 and older" in said


def test_a_driver_that_hangs_is_not_waited_for_for_ever(
    server_source: Path, models: Path, driver: Path, gpu: dict[str, str]
) -> None:
    impatient = "import os, sys; from mbuild_serve.gpu import survey; survey._PATIENCE_SECONDS = 0.5; "
    line, environ = command(server_source, models, LD_LIBRARY_PATH=str(driver), STUB_CUDA_HANGS="1", **gpu)
    started = [line[0], "-c", impatient + "from mbuild_serve.app import serve; sys.exit(serve(os.environ))"]
    finished = subprocess.run(started, env=environ, capture_output=True, text=True, timeout=60)
    assert finished.returncode == 1
    assert "\nNVIDIA's driver has not answered within 0.5 s: see that nvidia-smi works" in finished.stderr
