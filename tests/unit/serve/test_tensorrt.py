"""What onnxruntime's TensorRT is told of a model, in which order providers are asked for, and what is no start."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from builder.serve.device import CPU_PROVIDER, CUDA_PROVIDER, TENSORRT_PROVIDER, Device, GpuUnusable
from builder.serve.http.answers import Refusal
from builder.serve.models.model_folder import ModelFolder, ModelUnusable
from builder.serve.models.tensorrt import compiled

INDEX: dict[str, Any] = {
    "schema": 1,
    "runtime": "tensorrt",
    "version": "10",
    "model": "one",
    "precision": "fp32",
    "inputs": {
        "ids": {"min": [1, 8], "opt": [4, 8], "max": [32, 16]},
        "mask": {"min": [1, 1], "opt": [1, 1], "max": [32, 1]},
    },
    "engines": [],
}
PROFILE = {
    "trt_profile_min_shapes": "ids:1x8,mask:1x1",
    "trt_profile_opt_shapes": "ids:4x8,mask:1x1",
    "trt_profile_max_shapes": "ids:32x16,mask:32x1",
}
DEVICE = Device(
    provider=TENSORRT_PROVIDER,
    wanted=TENSORRT_PROVIDER,
    name="GPU 0: Card",
    options={"device_id": "0"},
    below={CUDA_PROVIDER: {"use_tf32": "0"}},
)


def folder(tmp_path: Path, **changes: object) -> ModelFolder:
    place = tmp_path / "m" / "1" / "engines"
    place.mkdir(parents=True, exist_ok=True)
    (place / "index.json").write_text(json.dumps({**INDEX, **changes}))
    (place.parent / "model.onnx").touch()
    return ModelFolder(path=tmp_path / "m", name="m", version="1")


@pytest.mark.parametrize(
    ("precision", "flags"),
    [
        ("fp32", {}),
        ("fp16", {"trt_fp16_enable": "1"}),
        ("bf16", {"trt_bf16_enable": "1"}),
        ("int8", {"trt_int8_enable": "1"}),
    ],
)
def test_it_computes_in_the_types_of_the_graph(tmp_path: Path, precision: str, flags: dict[str, str]) -> None:
    how = compiled(folder(tmp_path, precision=precision), "")
    assert how.options == {**flags, **PROFILE}
    assert how.said == f"TensorRT compiles the ONNX when the server starts ({precision})"


def test_sizes_bound_requests_and_batches(tmp_path: Path) -> None:
    engine = compiled(folder(tmp_path), "").engine
    assert engine is not None
    assert engine.most_rows == 32
    engine.check("m", {"ids": np.zeros((32, 16)), "mask": np.zeros((32, 1))})
    with pytest.raises(
        Refusal, match="input 'ids' of model 'm' has 17 in dim 1; the engine for this GPU takes 8 to 16"
    ):
        engine.check("m", {"ids": np.zeros((1, 17))})


@pytest.mark.parametrize("inputs", [{}, {"input:0": INDEX["inputs"]["ids"]}, {"a,b": INDEX["inputs"]["ids"]}])
def test_sizes_that_cannot_be_said_are_left_to_tensorrt(tmp_path: Path, inputs: dict[str, object]) -> None:
    how = compiled(folder(tmp_path, inputs=inputs), "")
    assert (how.options, how.engine) == ({}, None)


def test_a_kept_engine_is_of_these_very_weights(tmp_path: Path) -> None:
    """onnxruntime's own name for it knows the graph's names alone."""

    def kept(**changes: object) -> str:
        options = compiled(folder(tmp_path, **changes), str(tmp_path / "cache")).options
        assert options["trt_engine_cache_enable"] == options["trt_timing_cache_enable"] == "1"
        assert Path(options["trt_engine_cache_path"]).is_dir()
        return options["trt_engine_cache_path"]

    assert kept() == kept()
    assert len({kept(), kept(model="other"), kept(precision="fp16"), kept(inputs={})}) == 4


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelUnusable, match=r"MBUILD_GPU_ENGINE_CACHE: .*/file/m-\w+ cannot be made: Not a directory"):
        compiled(folder(tmp_path), str(tmp_path / "file"))


@pytest.mark.parametrize("wrong", [{"inputs": 1}, {"schema": 2}, {"inputs": {"ids": {"min": [1]}}}])
def test_an_index_that_is_wrong_is_named(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ModelUnusable, match="is not as expected"):
        compiled(folder(tmp_path, **wrong), "")


def test_a_graph_without_an_index_is_compiled_as_it_is(tmp_path: Path) -> None:
    how = compiled(ModelFolder(path=tmp_path, name="m", version="1"), str(tmp_path / "cache"))
    assert (how.options, how.engine) == ({}, None)
    assert not (tmp_path / "cache").exists()


class _Session:
    """As onnxruntime's, with the first provider that it says it has."""

    def __init__(self, first: str) -> None:
        self.first = first

    def get_providers(self) -> list[str]:
        return [self.first]

    def get_inputs(self) -> list[object]:
        return []

    get_outputs = get_inputs

    def run(self, *given: object) -> list[object]:
        return []


class _Runtime(ModuleType):
    """In the place of onnxruntime, whose TensorRT needs a GPU: ``answer`` is what comes of a session, by what its first
    provider is told; ``asked`` has providers and options of each."""

    __version__ = "1.28.0"
    __file__ = "/nowhere/onnxruntime/__init__.py"

    def __init__(self) -> None:
        super().__init__("onnxruntime")
        self.answer: Callable[[dict[str, str]], _Session] = lambda _: _Session(TENSORRT_PROVIDER)
        self.asked: list[tuple[list[str], list[dict[str, str]]]] = []

    def get_available_providers(self) -> list[str]:
        return [TENSORRT_PROVIDER, CUDA_PROVIDER, CPU_PROVIDER]

    def set_default_logger_severity(self, level: int) -> None:
        return None

    class SessionOptions:
        def add_session_config_entry(self, name: str, value: str) -> None:
            return None

    def InferenceSession(  # noqa: N802 - as onnxruntime calls it
        self, path: str, options: object, providers: list[str], **more: Any
    ) -> _Session:
        assert more["enable_fallback"] == 0
        self.asked.append((providers, more["provider_options"]))
        return self.answer(more["provider_options"][0])


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> _Runtime:
    made = _Runtime()
    monkeypatch.setitem(sys.modules, "onnxruntime", made)
    return made


@pytest.fixture
def load(runtime: _Runtime) -> Iterator[Callable[[Path], list[Any]]]:
    names = ("builder.serve.models.engine", "builder.serve.gpu.session")
    before = {name: sys.modules.pop(name, None) for name in names}
    engine = importlib.import_module(names[0])
    yield lambda models: list(engine.load_models(models, device=DEVICE))
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module:
            sys.modules[name] = module


Load = Callable[[Path], list[Any]]


def test_tensorrt_is_first_then_cuda_then_the_cpu(tmp_path: Path, runtime: _Runtime, load: Load) -> None:
    folder(tmp_path)
    (model,) = load(tmp_path)
    ((providers, options),) = runtime.asked
    assert providers == [TENSORRT_PROVIDER, CUDA_PROVIDER, CPU_PROVIDER]
    assert options == [{"device_id": "0", **PROFILE}, {"use_tf32": "0"}, {}]
    assert model.device.said["engine"] == "TensorRT compiles the ONNX when the server starts (fp32)"
    assert model.most_rows == 32


@pytest.mark.parametrize("first", [CUDA_PROVIDER, CPU_PROVIDER])
def test_anything_else_in_its_place_is_no_start(tmp_path: Path, runtime: _Runtime, load: Load, first: str) -> None:
    runtime.answer = lambda _: _Session(first)
    folder(tmp_path)
    with pytest.raises(GpuUnusable, match="onnxruntime cannot use TensorrtExecutionProvider"):
        load(tmp_path)


def test_a_graph_of_which_tensorrt_takes_parts_has_no_sizes(tmp_path: Path, runtime: _Runtime, load: Load) -> None:
    def answer(told: dict[str, str]) -> _Session:
        if "trt_profile_min_shapes" in told:
            raise RuntimeError("User needs to provide all the dynamic shape inputs with associated profiles if they")
        return _Session(TENSORRT_PROVIDER)

    runtime.answer = answer
    folder(tmp_path, precision="fp16")
    (model,) = load(tmp_path)
    assert [options[0].keys() & PROFILE.keys() for _, options in runtime.asked] == [PROFILE.keys(), set()]
    assert runtime.asked[1][1][0]["trt_fp16_enable"] == "1"
    assert model.device.said["engine"].endswith("(fp16), parts of it, and again for new sizes")
    assert model.most_rows == 0


def test_another_failure_is_not_tried_again(tmp_path: Path, runtime: _Runtime, load: Load) -> None:
    def answer(told: dict[str, str]) -> _Session:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected; GPU=0")

    runtime.answer = answer
    folder(tmp_path)
    with pytest.raises(GpuUnusable, match="CUDA failure 100"):
        load(tmp_path)
    assert len(runtime.asked) == 1
