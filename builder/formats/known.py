"""Recognises model files that this version of mbuild does not read, so that it can say what they are.

Evidence is a magic number, the names inside a zip archive, or the first lines of a text; nothing is loaded, and above
all nothing is unpickled. A suffix alone is never enough, but it narrows what a weak magic number may mean.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.model.source import ModelFile, ModelSource

_HEAD = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of file: ``title`` names the framework, ``export`` how its models become ONNX. ``certain`` is False where
    the file may also be something that belongs to a model (a pickled tokenizer)."""

    title: str
    export: str
    certain: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """A recognised file and what in it says so."""

    path: PurePosixPath
    kind: Kind
    evidence: str

    def __str__(self) -> str:
        return f"{self.path}: this looks like {self.kind.title} ({self.evidence})"


_TORCH = "torch.onnx.export(model, args, 'model.onnx', dynamo=True)"
_KERAS = "model.export('model.onnx', format='onnx')"
_TENSORFLOW = "python -m tf2onnx.convert"
_SKLEARN = "skl2onnx.to_onnx(model, sample)"
_TREES = "onnxmltools"
_PADDLE = "paddle.onnx.export(layer, 'model', input_spec=[...])"
_JAX = "jax2onnx.to_onnx(model, inputs)"

TORCHSCRIPT = Kind(title="a PyTorch TorchScript file", export=_TORCH)
TORCH_EXPORT = Kind(title="a PyTorch torch.export file", export=_TORCH)
TORCH_PICKLE = Kind(title="a PyTorch file of torch.save, a state_dict or a whole module", export=_TORCH)
SAFETENSORS = Kind(title="a safetensors file, weights without a graph", export=_TORCH)
FLAX_MSGPACK = Kind(title="parameters of flax", export=_JAX, certain=False)
STABLEHLO = Kind(title="a program of jax.export, or other StableHLO", export=_JAX)
KERAS = Kind(title="a Keras 3 file", export=_KERAS)
KERAS_HDF5 = Kind(title="a Keras HDF5 file", export=_KERAS)
HDF5 = Kind(title="an HDF5 file", export=_KERAS, certain=False)
SAVED_MODEL = Kind(title="a TensorFlow SavedModel", export=f"{_TENSORFLOW} --saved-model DIR")
TFLITE = Kind(title="a TensorFlow Lite file", export=f"{_TENSORFLOW} --tflite FILE")
ORT = Kind(title="an onnxruntime .ort file", export="use the .onnx file that it was made from")
GGUF = Kind(title="a GGUF file of llama.cpp", export="from the checkpoint that it was made from")
SKOPS = Kind(title="a skops file of scikit-learn", export=_SKLEARN)
PICKLE = Kind(title="a Python pickle, as scikit-learn and others write", export=_SKLEARN, certain=False)
PADDLE = Kind(title="an inference model of PaddlePaddle", export=_PADDLE)
PADDLE_PARAMETERS = Kind(title="parameters of an inference model of PaddlePaddle", export=_PADDLE, certain=False)
PADDLE_WEIGHTS = Kind(title="weights of PaddlePaddle, a pickle", export=_PADDLE, certain=False)
XGBOOST = Kind(title="an XGBoost model", export=_TREES)
LIGHTGBM = Kind(title="a LightGBM model", export=_TREES)
CATBOOST = Kind(title="a CatBoost model", export="model.save_model('model.onnx', format='onnx')")

Found = tuple[Kind, str] | None


def recognize(source: ModelSource) -> tuple[Sighting, ...]:
    """Every file of a known kind, in the listing's order. Golden cases (``golden/``) are not looked at."""
    sightings = (_recognize(source, file) for file in source.files if file.path.parts[0] != "golden")
    return tuple(sighting for sighting in sightings if sighting)


def _recognize(source: ModelSource, file: ModelFile) -> Sighting | None:
    head = source.head(file.path, _HEAD)
    found = _by_zip(source, file) if head.startswith(b"PK\x03\x04") else _by_head(file, head)
    return Sighting(path=file.path, kind=found[0], evidence=found[1]) if found else None


def _by_head(file: ModelFile, head: bytes) -> Found:
    for test in _TESTS:
        found = test(file, head)
        if found:
            return found
    return None


def _by_magic(file: ModelFile, head: bytes) -> Found:
    for offset, magic, kind in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return kind, f"magic bytes {magic.hex(' ')}"
    return None


_MAGIC = (
    (0, b"GGUF", GGUF),
    (0, b"CBM1", CATBOOST),
    (4, b"TFL3", TFLITE),
    (4, b"ORTM", ORT),
    # The pickled long with which torch.save began before its zip format (torch/serialization.py, MAGIC_NUMBER).
    (0, b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", TORCH_PICKLE),
)


def _safetensors(file: ModelFile, head: bytes) -> Found:
    """Eight bytes of header length, then a JSON object of that length (huggingface/safetensors, README: Format)."""
    length = int.from_bytes(head[:8], "little")
    if len(head) > 9 and head[8:9] == b"{" and 2 <= length <= min(file.size - 8, 100_000_000):
        return SAFETENSORS, f"a JSON header of {length} bytes"
    return None


def _jax(file: ModelFile, head: bytes) -> Found:
    # The bytecode of MLIR (mlir.llvm.org, MLIR Bytecode Format), alone or in the envelope of jax.export.
    if b"ML\xefR\rStableHLO" in head or (file.path.suffix == ".mlir" and b"stablehlo." in head):
        return STABLEHLO, "MLIR of StableHLO"
    # flax.serialization writes a map by name (msgpack, spec: fixmap, map 16).
    if file.path.suffix == ".msgpack" and re.match(rb"[\x81-\x8f\xde]", head):
        return FLAX_MSGPACK, "a map in msgpack"
    return None


def _hdf5(file: ModelFile, head: bytes) -> Found:
    if not head.startswith(b"\x89HDF\r\n\x1a\n"):
        return None
    keras = next((name for name in (b"keras_version", b"model_config", b"layer_names") if name in head), None)
    return (KERAS_HDF5, f"HDF5 with {keras.decode()}") if keras else (HDF5, "magic bytes 89 48 44 46")


def _saved_model(file: ModelFile, head: bytes) -> Found:
    # SavedModel.saved_model_schema_version (field 1, varint) = 1, then meta_graphs (field 2): saved_model.proto.
    if file.path.name == "saved_model.pb" and head[:3] == b"\x08\x01\x12":
        return SAVED_MODEL, "saved_model.pb, schema version 1"
    return None


_PICKLES = (".pkl", ".pickle", ".joblib", ".sav")


def _pickle(file: ModelFile, head: bytes) -> Found:
    suffix = file.path.suffix.lower()
    if suffix in _PICKLES and re.match(rb"\x80[\x02-\x05]", head):
        return PICKLE, "scikit-learn inside" if b"sklearn" in head else f"pickle protocol {head[1]}"
    packed = file.path.with_suffix("").suffix.lower() if suffix in (".gz", ".z", ".bz2", ".xz", ".lzma") else suffix
    if packed in _PICKLES and re.match(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b|BZh|\xfd7zXZ|\x5d\x00", head):
        return PICKLE, "compressed by joblib"
    return None


def _xgboost(file: ModelFile, head: bytes) -> Found:
    suffix = file.path.suffix.lower()  # .xgb is what MLflow calls either
    if suffix in (".json", ".xgb") and re.match(rb'\s*\{\s*"(learner|version)"\s*:', head):
        return (XGBOOST, "JSON with learner") if b'"learner' in head or b'"gradient_booster' in head else None
    if suffix in (".ubj", ".xgb") and head.startswith(b"{L") and b"learner" in head:
        return XGBOOST, "UBJSON with learner"
    return None


def _lightgbm(file: ModelFile, head: bytes) -> Found:
    # Boosting::SaveModelToString writes "tree" and its version first (LightGBM, src/boosting/gbdt_model_text.cpp).
    return (LIGHTGBM, "text that begins with tree, version") if re.match(rb"tree\r?\nversion=v\d", head) else None


def _paddle(file: ModelFile, head: bytes) -> Found:
    suffix = file.path.suffix
    if suffix == ".json" and re.match(rb'\s*\{\s*"base_code"\s*:\s*\{[^}]*"magic"\s*:\s*"pir"', head):
        return PADDLE, "JSON of PIR"
    # ProgramDesc: a first block (field 1) with idx 0 and parent -1 (framework.proto).
    if suffix == ".pdmodel" and re.match(rb"\x0a[\x80-\xff]{0,4}[\x00-\x7f]\x08\x00\x10\xff{9}\x01", head):
        return PADDLE, "a ProgramDesc"
    # Each tensor: version, no levels of detail, version again (framework/lod_tensor.cc: SerializeToStream).
    if suffix == ".pdiparams" and head[:16] == bytes(16):
        return PADDLE_PARAMETERS, "tensors of version 0"
    if suffix == ".pdparams" and re.match(rb"\x80[\x02-\x05]", head):
        return PADDLE_WEIGHTS, f"pickle protocol {head[1]}"
    return None


_TESTS: tuple[Callable[[ModelFile, bytes], Found], ...] = (
    _by_magic,
    _safetensors,
    _jax,
    _hdf5,
    _saved_model,
    _paddle,
    _pickle,
    _xgboost,
    _lightgbm,
)


def _by_zip(source: ModelSource, file: ModelFile) -> Found:
    try:
        with zipfile.ZipFile(source.locate(file.path)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, ValueError, OSError):
        return None
    # torch.save and torch.jit.save put everything below one folder named after the archive.
    inner = {name.split("/", 1)[-1] for name in names}
    if any(name.startswith("code/") for name in inner) and "constants.pkl" in inner:
        return TORCHSCRIPT, "zip with code/ and constants.pkl"
    if "archive_format" in inner and any(re.match(r"(.*/)?models/.*\.json", name) for name in names):
        return TORCH_EXPORT, "zip with archive_format and models/"
    if "data.pkl" in inner:
        return TORCH_PICKLE, "zip with data.pkl"
    if {"config.json", "metadata.json", "model.weights.h5"} <= set(names):
        return KERAS, "zip with config.json and model.weights.h5"
    if "schema.json" in names and file.path.suffix == ".skops":
        return SKOPS, "zip with schema.json"
    return None
