"""Hugging Face directories as they lie on disks: whole, in shards, with code, without weights."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest

from builder.formats import SeveralFormats, SeveralModels, detect
from builder.formats.code import ModelRunsCode, require_harmless
from builder.formats.huggingface import ArchitectureMissing, SettingsUnreadable, ShardsMissing, WeightsMissing
from builder.formats.torch_pickles import WeightsUnreadable
from builder.model.manifest import read_manifest
from builder.model.source import Detection, list_model
from tests.support.models import save_mlp
from tests.unit.formats.test_pickles import Evil

KNOWN = Path(__file__).parents[2] / "support" / "known"
BERT = {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "transformers_version": "4.8.2"}


def safetensors(*shapes: tuple[int, ...]) -> bytes:
    header = {f"tensor-{n}": {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]} for n, shape in enumerate(shapes)}
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(BERT))
    (tmp_path / "model.safetensors").write_bytes(safetensors((3, 4), (5,)))
    return tmp_path


def found(directory: Path) -> Detection:
    source = list_model(directory)
    return detect(source, read_manifest(source))


def check(directory: Path) -> None:
    require_harmless(list_model(directory), found(directory))


def test_what_it_is_and_what_it_says(directory: Path) -> None:
    model = found(directory)
    assert (model.format, str(model.entry)) == ("huggingface", "config.json")
    assert model.evidence == (
        "architecture BertForSequenceClassification, text classification",
        "17 parameters in 1 file of safetensors",
        "written by transformers 4.8.2; the converter reads it with the version that it pins",
    )
    check(directory)


def test_what_training_and_other_frameworks_left_is_no_other_model(directory: Path) -> None:
    shutil.copyfile(KNOWN / "state_dict.pt", directory / "pytorch_model.bin")
    shutil.copyfile(KNOWN / "state_dict.pt", directory / "training_args.bin")
    shutil.copyfile(KNOWN / "network.h5", directory / "tf_model.h5")
    shutil.copytree(directory, directory / "checkpoint-500", ignore=shutil.ignore_patterns("checkpoint-*"))
    shutil.copyfile(KNOWN / "legacy.pt", directory / "checkpoint-500" / "optimizer.pt")
    assert str(found(directory).entry) == "config.json"


@pytest.mark.parametrize("name", ["model.onnx", "scripted.pt"])
def test_a_whole_model_of_another_format_needs_a_word(directory: Path, name: str) -> None:
    if name == "model.onnx":
        save_mlp(directory / "onnx" / name)
    else:
        shutil.copyfile(KNOWN / name, directory / name)
    with pytest.raises(SeveralFormats, match="huggingface"):
        found(directory)
    (directory / "model.yaml").write_text("format: huggingface\n")
    assert found(directory).format == "huggingface"


def test_an_onnx_model_with_its_tokenizer_is_an_onnx_model(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    save_mlp(directory / "onnx" / "model.onnx")
    assert found(directory).format == "onnx"


def test_a_module_in_model_yaml_means_the_weights(directory: Path) -> None:
    (directory / "net.py").write_text("")
    (directory / "model.yaml").write_text("module: {file: net.py, class: Net}\n")
    assert found(directory).format == "torch-state"


@pytest.mark.parametrize("place", ["", "0_Transformer"])
def test_sentence_transformers(directory: Path, place: str) -> None:
    (directory / "modules.json").write_text("[]")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    (directory / "2_Dense").mkdir()
    (directory / "2_Dense" / "model.safetensors").write_bytes(safetensors((2, 2)))
    if place:
        (directory / place).mkdir()
        for name in ("config.json", "model.safetensors"):
            (directory / name).rename(directory / place / name)
    model = found(directory)
    assert model.entry.parts == tuple(filter(None, (place, "config.json")))
    assert "modules.json of sentence-transformers: one vector for each text" in model.evidence


def test_two_directories_need_a_word(tmp_path: Path) -> None:
    for name in ("checkpoint-1", "checkpoint-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(BERT))
        (tmp_path / name / "model.safetensors").write_bytes(safetensors((1,)))
    with pytest.raises(SeveralModels):
        found(tmp_path)
    (tmp_path / "model.yaml").write_text("file: checkpoint-2/config.json\n")
    assert str(found(tmp_path).entry) == "checkpoint-2/config.json"


def test_shards(directory: Path) -> None:
    weights = directory / "model.safetensors"
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    weights.rename(directory / shards["a"])
    with pytest.raises(ShardsMissing, match=r"index\.json names weights .*: model-00002-of-00002\.safetensors"):
        found(directory)
    (directory / shards["b"]).write_bytes(safetensors((2,)))
    assert "19 parameters in 2 files of safetensors" in found(directory).evidence


@pytest.mark.parametrize("shard", ["../../secret.safetensors", "a/../../b", "/etc/passwd"])
def test_shards_elsewhere_are_no_shards(directory: Path, shard: str) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(SettingsUnreadable, match="names a file outside"):
        found(directory)


def test_no_weights(directory: Path) -> None:
    (directory / "model.safetensors").rename(directory / "modle.safetensors")
    with pytest.raises(WeightsMissing, match=r"did you mean 'modle\.safetensors'") as caught:
        found(directory)
    assert caught.value.exit_code == 4
    (directory / "modle.safetensors").unlink()
    with pytest.raises(WeightsMissing):
        found(directory)


def test_no_architecture(directory: Path) -> None:
    (directory / "config.json").write_text('{"model_type": "xlm-roberta"}')
    with pytest.raises(ArchitectureMissing) as caught:
        found(directory)
    assert '["XlmRobertaModel"]' in caught.value.advice


def test_a_config_that_was_cut_off(directory: Path) -> None:
    (directory / "config.json").write_text(json.dumps(BERT)[:-1])
    with pytest.raises(SettingsUnreadable):
        found(directory)


@pytest.mark.parametrize(
    ("name", "auto_map", "told"),
    [
        ("config.json", {"AutoModel": "modeling.Evil"}, r"modeling\.Evil \(config\.json: auto_map\)"),
        ("tokenizer_config.json", {"AutoTokenizer": ["tok.Slow", None]}, r"tok\.Slow"),
        ("preprocessor_config.json", {"AutoImageProcessor": "image.Evil"}, r"image\.Evil"),
    ],
)
def test_code_in_the_directory_is_refused(directory: Path, name: str, auto_map: object, told: str) -> None:
    (directory / name).write_text(json.dumps({**BERT, "auto_map": auto_map}))
    with pytest.raises(ModelRunsCode, match=told) as caught:
        check(directory)
    assert "--allow-code" in caught.value.advice


def zipped(value: object) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value))
    return content.getvalue()


@pytest.mark.parametrize("name", ["state_dict.pt", "legacy.pt"])
def test_pickled_weights_of_tensors_alone(directory: Path, name: str) -> None:
    (directory / "model.safetensors").unlink()
    shutil.copyfile(KNOWN / name, directory / "pytorch_model.bin")
    check(directory)


def test_pickled_weights_that_call_are_refused(directory: Path) -> None:
    (directory / "pytorch_model.bin").write_bytes(zipped({"weight": Evil()}))
    check(directory)  # there are safetensors, so nobody reads it
    (directory / "model.safetensors").unlink()
    with pytest.raises(ModelRunsCode, match=r"posix\.system \(pytorch_model\.bin\)"):
        check(directory)


def test_pickled_weights_of_a_layer_behind_the_transformer(directory: Path) -> None:
    (directory / "modules.json").write_text("[]")
    (directory / "2_Dense").mkdir()
    (directory / "2_Dense" / "pytorch_model.bin").write_bytes(zipped(Evil()))
    with pytest.raises(ModelRunsCode, match=r"posix\.system \(2_Dense/pytorch_model\.bin\)"):
        check(directory)


def test_pickled_weights_that_were_cut_off(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    (directory / "pytorch_model.bin").write_bytes((KNOWN / "legacy.pt").read_bytes()[:60])
    with pytest.raises(WeightsUnreadable):
        check(directory)
