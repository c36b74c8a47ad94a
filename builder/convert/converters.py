"""Which converter turns a format into ONNX: a worker and the environment that it runs in. One entry for each format.

The requirements are the whole closure as uv resolved it, so that a conversion is the same tomorrow; what the table of
facts says works together is pinned, the rest is what those ask for. CPU builds only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from packaging.version import InvalidVersion, Version

from builder.convert.envs import EnvironmentSpec
from builder.convert.jax_pins import PINS as JAX_PINS
from builder.convert.paddle_pins import PINS as PADDLE_PINS
from builder.convert.sklearn_versions import sklearn_environment
from builder.model.golden import Tolerance

_ONNX = (
    "ml-dtypes==0.6.0",
    "numpy==2.4.6",
    "onnx==1.23.2",
    "packaging==26.3",
    "protobuf==6.33.6",
    "typing-extensions==4.16.0",
)
_TREES = (
    *_ONNX,
    "joblib==1.6.0",
    "narwhals==2.29.0",
    "onnxmltools==1.16.0",
    "scikit-learn==1.9.1",
    "scipy==1.17.1",
    "skl2onnx==1.20.0",
    "threadpoolctl==3.8.0",
)
_TORCH = (
    *_ONNX,
    "filelock==4.2.11",
    "fsspec==2026.9.0",
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "mpmath==1.3.0",
    "networkx==3.6.1",
    "onnx-ir==1.1.0",
    "onnxscript==0.7.2",
    "safetensors==0.8.0",
    "sympy==1.14.0",
    "torch==2.13.0",
)
"""Of the CPU: nothing of CUDA is here, and a build of torch that needs it does not start."""

_TRANSFORMERS = (
    *_TORCH,
    "annotated-doc==0.0.7",
    "annotated-types==0.8.0",
    "anyio==4.16.0",
    "click==8.5.1",
    "h11==0.16.0",
    "hf-xet==1.8.0",
    "httpcore2==2.16.2",
    "httpx2==2.16.2",
    "huggingface-hub==2.4.0",
    "idna==3.20",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "onnxruntime==1.31.1",
    "pillow==13.0.0",
    "pydantic==2.14.3",
    "pydantic-core==2.50.4",
    "pygments==2.21.0",
    "pyyaml==6.0.3",
    "regex==2026.11.15",
    "rich==15.0.0",
    "sentencepiece==0.2.3",
    "shellingham==1.5.4",
    "tokenizers==0.23.3",
    "tqdm==4.70.1",
    "transformers==5.23.0",
    "truststore==0.10.5",
    "typer==0.29.2",
    "typing-inspection==0.4.5",
)
"""onnxruntime tells which exporter's graph answers as the model does; sentencepiece reads older tokenizers."""

_TENSORFLOW = (
    *_ONNX,
    "absl-py==2.5.1",
    "astunparse==1.6.3",
    "certifi==2026.10.18",
    "charset-normalizer==3.5.2",
    "flatbuffers==25.12.19",
    "gast==0.7.0",
    "google-pasta==0.2.0",
    "grpcio==1.85.1",
    "h5py==3.14.0",
    "idna==3.20",
    "keras==3.15.1",
    "markdown-it-py==4.3.0",
    "mdurl==0.1.2",
    "namex==0.1.0",
    "onnxruntime==1.31.1",
    "opt-einsum==3.4.0",
    "optree==0.20.0",
    "pygments==2.21.0",
    "requests==2.34.2",
    "rich==15.0.0",
    "setuptools==84.2.1",
    "six==1.17.0",
    "tensorflow-cpu==2.21.0",
    "termcolor==3.3.0",
    "tf-keras==2.21.0",
    "tf2onnx==1.17.0",
    "urllib3==2.8.0",
    "wheel==0.48.0",
    "wrapt==2.5.2",
)
"""With both Keras 3 and tf-keras, which is Keras 2: a file goes to the one that wrote it."""

_TENSORFLOW_ENVIRONMENT = EnvironmentSpec(name="tensorflow", requirements=_TENSORFLOW, megabytes=1591)
_TORCH_ENVIRONMENT = EnvironmentSpec(name="torch", requirements=_TORCH, megabytes=972)
_PANDAS = ("pandas==3.1.1", "python-dateutil==4.0.0", "six==1.17.0", "tzdata==2026.6")


_TOLERANCE = Tolerance()
EnvironmentFor = Callable[[Mapping[str, str]], EnvironmentSpec]


@dataclass(frozen=True, kw_only=True, slots=True)
class Converter:
    """``framework`` names it for people; ``worker`` is a file of builder/convert/workers; ``needs_inputs`` where the
    files do not say what the model takes, so that model.yaml must; ``tolerance`` is what its models hold where
    model.yaml says nothing."""

    framework: str
    worker: str
    environment: EnvironmentSpec
    environment_for: EnvironmentFor | None = None
    needs_inputs: bool = False
    tolerance: Tolerance = _TOLERANCE

    def fitted(self, versions: Mapping[str, str]) -> Converter:
        """The same converter in the environment that a model written by ``versions`` needs."""
        return replace(self, environment=self.environment_for(versions)) if self.environment_for else self

    def older_than(self, versions: Mapping[str, str]) -> tuple[str, ...]:
        """What of this converter is older than what wrote the model, in words; patch releases do not count."""
        pins = (pin.partition("==")[::2] for pin in self.environment.requirements)
        own = {name.removesuffix("-cpu"): version for name, version in pins}
        pairs = ((name, wrote, own[name]) for name, wrote in versions.items() if name in own)
        return tuple(f"{name} {wrote} ({mine} reads it)" for name, wrote, mine in pairs if _minor(wrote) > _minor(mine))


def _minor(version: str) -> tuple[int, ...]:
    """Its first two numbers; none of what is no version."""
    try:
        return Version(version).release[:2]
    except InvalidVersion:
        return ()


CONVERTERS: dict[str, Converter] = {
    "xgboost": Converter(
        framework="XGBoost",
        worker="xgboost_worker",
        environment=EnvironmentSpec(name="xgboost", requirements=(*_TREES, "xgboost-cpu==3.2.0"), megabytes=326),
    ),
    "lightgbm": Converter(
        framework="LightGBM",
        worker="lightgbm_worker",
        environment=EnvironmentSpec(name="lightgbm", requirements=(*_TREES, "lightgbm==4.7.0"), megabytes=317),
    ),
    "catboost": Converter(
        framework="CatBoost",
        worker="catboost_worker",
        environment=EnvironmentSpec(
            name="catboost",
            requirements=(*_ONNX, "catboost==1.2.10", *_PANDAS, "scipy==1.17.1", "graphviz==0.21"),
            megabytes=617,
        ),
    ),
    "sklearn": Converter(
        framework="scikit-learn",
        worker="sklearn_worker",
        environment=sklearn_environment({}),
        environment_for=sklearn_environment,
    ),
    "huggingface": Converter(
        framework="Transformers",
        worker="huggingface_worker",
        environment=EnvironmentSpec(name="hf", requirements=_TRANSFORMERS, megabytes=1249),
        # A dozen layers of sums in another order: logits that are near zero while others are near a hundred.
        tolerance=Tolerance(absolute=1e-4),
    ),
    "torchscript": Converter(
        framework="PyTorch", worker="torchscript_worker", environment=_TORCH_ENVIRONMENT, needs_inputs=True
    ),
    "torch-export": Converter(framework="PyTorch", worker="torch_export_worker", environment=_TORCH_ENVIRONMENT),
    "jax": Converter(
        framework="JAX",
        worker="jax_worker",
        environment=EnvironmentSpec(name="jax", requirements=(*_ONNX, *JAX_PINS), megabytes=876),
        needs_inputs=True,
    ),
    "torch-state": Converter(
        framework="PyTorch", worker="torch_state_worker", environment=_TORCH_ENVIRONMENT, needs_inputs=True
    ),
    "keras": Converter(framework="Keras", worker="keras_worker", environment=_TENSORFLOW_ENVIRONMENT),
    "tensorflow": Converter(framework="TensorFlow", worker="tensorflow_worker", environment=_TENSORFLOW_ENVIRONMENT),
    "tflite": Converter(framework="TensorFlow Lite", worker="tflite_worker", environment=_TENSORFLOW_ENVIRONMENT),
    "paddle": Converter(
        framework="PaddlePaddle",
        worker="paddle_worker",
        environment=EnvironmentSpec(name="paddle", requirements=PADDLE_PINS, megabytes=915),
    ),
}
"""By the name of the format (builder/formats)."""
