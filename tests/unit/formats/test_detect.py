from __future__ import annotations

from pathlib import Path

import pytest

from builder.formats import (
    FormatNotRead,
    ModelFileMissing,
    NoModelFound,
    SeveralFormats,
    SeveralModels,
    UnknownFormat,
    detect,
)
from builder.model.manifest import read_manifest
from builder.model.source import Detection, list_model
from tests.support.golden import Golden
from tests.support.models import complaint, save_mlp

SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


def found(directory: Path) -> Detection:
    source = list_model(directory)
    return detect(source, read_manifest(source))


def test_finds_the_one_onnx_file_wherever_it_is(tmp_path: Path) -> None:
    save_mlp(tmp_path / "1" / "Net.ONNX")
    (tmp_path / "README.md").write_text("read me")
    detection = found(tmp_path)
    assert (detection.format, str(detection.entry)) == ("onnx", "1/Net.ONNX")
    assert detection.evidence


def test_nothing_found_says_what_was_there(tmp_path: Path, golden: Golden) -> None:
    for name in ("README.md", "data.csv"):
        (tmp_path / name).write_text("text")
    with pytest.raises(NoModelFound) as caught:
        found(tmp_path)
    golden("errors/no-model.txt", complaint(caught.value, tmp_path))


def test_another_format_is_named(tmp_path: Path, golden: Golden) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF\x03" + bytes(27))
    with pytest.raises(FormatNotRead) as caught:
        found(tmp_path)
    assert caught.value.exit_code == 4
    golden("errors/another-format.txt", complaint(caught.value, tmp_path))


def test_two_formats_need_a_word(tmp_path: Path, golden: Golden) -> None:
    save_mlp(tmp_path / "model.onnx")
    (tmp_path / "weights.safetensors").write_bytes(SAFETENSORS)
    with pytest.raises(SeveralFormats) as caught:
        found(tmp_path)
    golden("errors/two-formats.txt", complaint(caught.value, tmp_path))
    (tmp_path / "model.yaml").write_text("format: onnx\n")
    assert str(found(tmp_path).entry) == "model.onnx"


def test_a_pickle_beside_the_model_may_be_anything_and_is_no_second_format(tmp_path: Path) -> None:
    save_mlp(tmp_path / "model.onnx")
    (tmp_path / "labels.pkl").write_bytes(b"\x80\x04]\x94.")
    assert str(found(tmp_path).entry) == "model.onnx"


def test_two_models_need_a_word(tmp_path: Path) -> None:
    save_mlp(tmp_path / "encoder.onnx")
    save_mlp(tmp_path / "decoder.onnx")
    with pytest.raises(SeveralModels, match=r"2 models:\n  decoder\.onnx\n  encoder\.onnx"):
        found(tmp_path)
    (tmp_path / "model.yaml").write_text("file: encoder.onnx\n")
    assert str(found(tmp_path).entry) == "encoder.onnx"
    (tmp_path / "model.yaml").write_text("file: encodr.onnx\n")
    with pytest.raises(ModelFileMissing, match=r"did you mean 'encoder\.onnx'"):
        found(tmp_path)


def test_a_format_that_is_not_read(tmp_path: Path) -> None:
    save_mlp(tmp_path / "model.onnx")
    (tmp_path / "model.yaml").write_text("format: torch\n")
    with pytest.raises(UnknownFormat, match="'torch'"):
        found(tmp_path)
