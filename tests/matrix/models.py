"""The models of the matrix: examples as they are, and models that a script makes in its converter's own environment."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.host import Host

ROOT = Path(__file__).resolve().parents[2]
_SCRIPTS = ROOT / "tests" / "support" / "scripts"
_MAKING = 1800


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """A script of tests/support/scripts that writes models below a directory: run by the Python of ``environment``, a
    format's name, with ``before`` and ``after`` the directory as its words."""

    script: str
    environment: str
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        return "-".join((self.script, *self.before, *self.after))


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the matrix. ``source`` is a directory of examples/, or of what ``making`` writes; ``format`` is what
    must be detected."""

    title: str
    format: str
    source: str
    making: Making | None = None


TORCH = Making(script="make_torch_models", environment="torchscript")
HUGGING_FACE = Making(script="make_hf_models", environment="huggingface")
KERAS = Making(script="make_tensorflow_models", environment="keras")
LARGE = Making(script="make_tensorflow_models", environment="keras", after=("large",))
SKLEARN = Making(script="make_sklearn_models", environment="sklearn")
TREES = {
    name: Making(script="make_tree_models", environment=name, before=(name,))
    for name in ("xgboost", "lightgbm", "catboost")
}

ROWS = (
    Row(title="TorchScript, scripted, control flow", format="torchscript", source="scripted", making=TORCH),
    Row(title="TorchScript, traced", format="torchscript", source="traced", making=TORCH),
    Row(title="torch.export .pt2", format="torch-export", source="program", making=TORCH),
    Row(title="state_dict and module", format="torch-state", source="state", making=TORCH),
    Row(title="safetensors and module", format="torch-state", source="safetensors", making=TORCH),
    Row(title="Hugging Face encoder (BERT)", format="huggingface", source="encoder", making=HUGGING_FACE),
    Row(title="Hugging Face sentences", format="huggingface", source="sentences", making=HUGGING_FACE),
    Row(title="Hugging Face classifier", format="huggingface", source="classifier", making=HUGGING_FACE),
    Row(title="Hugging Face tokens (RoBERTa)", format="huggingface", source="entities", making=HUGGING_FACE),
    Row(title="Hugging Face causal LM (GPT-2)", format="huggingface", source="gpt2", making=HUGGING_FACE),
    Row(title="Hugging Face causal LM (Llama)", format="huggingface", source="llama", making=HUGGING_FACE),
    Row(title="Hugging Face T5", format="huggingface", source="t5", making=HUGGING_FACE),
    Row(title="Hugging Face ViT", format="huggingface", source="vit", making=HUGGING_FACE),
    Row(title="Hugging Face ResNet", format="huggingface", source="resnet", making=HUGGING_FACE),
    Row(title="Hugging Face Wav2Vec2", format="huggingface", source="wav2vec2", making=HUGGING_FACE),
    Row(title="Keras .keras, CNN of the tutorial", format="keras", source="cnn-keras", making=KERAS),
    Row(title="Keras .h5, CNN of the tutorial", format="keras", source="cnn-h5", making=KERAS),
    Row(title="Keras, attention and norms", format="keras", source="attention", making=KERAS),
    Row(title="Keras, LSTM", format="keras", source="lstm", making=KERAS),
    Row(title="Keras .keras, ResNet50", format="keras", source="resnet50", making=LARGE),
    Row(title="Keras .h5, ResNet50", format="keras", source="resnet50-h5", making=LARGE),
    Row(title="TensorFlow SavedModel", format="tensorflow", source="examples/tensorflow-savedmodel"),
    Row(title="TensorFlow Lite", format="tflite", source="examples/tflite"),
    Row(title="TensorFlow Lite, int8", format="tflite", source="tflite-int8", making=KERAS),
    Row(title="scikit-learn pipeline, strings and numbers", format="sklearn", source="examples/sklearn-pipeline"),
    Row(title="scikit-learn forest", format="sklearn", source="forest", making=SKLEARN),
    Row(title="scikit-learn boosting", format="sklearn", source="mixed-boosted", making=SKLEARN),
    Row(title="XGBoost", format="xgboost", source="multi_softprob", making=TREES["xgboost"]),
    Row(title="LightGBM", format="lightgbm", source="multiclass", making=TREES["lightgbm"]),
    Row(title="CatBoost", format="catboost", source="MultiClass", making=TREES["catboost"]),
    Row(title="JAX", format="jax", source="examples/jax"),
    Row(title="PaddlePaddle", format="paddle", source="examples/paddle"),
    Row(title="MLflow, scikit-learn", format="sklearn", source="examples/mlflow-sklearn"),
    Row(title="MLflow, PyTorch", format="torch-export", source="examples/mlflow-pytorch"),
    Row(title="MLflow, ONNX", format="onnx", source="tests/support/mlflow/onnx"),
    Row(title="Triton repository (TorchScript)", format="torchscript", source="examples/triton-repository"),
    Row(title="ONNX", format="onnx", source="examples/digits"),
)


def model_of(row: Row, scratch: Path, host: Host) -> Path:
    """The row's model in a directory of its own below ``scratch``, with a file that makes it one that was never
    converted before."""
    source = _made(row.making, scratch / row.making.place, host) / row.source if row.making else ROOT / row.source
    directory = scratch / "models" / row.source.replace("/", "-")
    shutil.copytree(source, directory, dirs_exist_ok=True)
    (directory / "mbuild.lock").unlink(missing_ok=True)
    (directory / "made.log").write_text(f"for the matrix: {secrets.token_hex()}\n")
    return directory


def _made(making: Making, directory: Path, host: Host) -> Path:
    if not directory.exists():
        directory.mkdir(parents=True)
        python = ensure_environment(CONVERTERS[making.environment].environment, host)
        command = [python, _SCRIPTS / f"{making.script}.py", *making.before, directory, *making.after]
        subprocess.run(command, check=True, timeout=_MAKING, capture_output=True)
    return directory
