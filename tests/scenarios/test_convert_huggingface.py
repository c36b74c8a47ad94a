"""Hugging Face directories of each task, as transformers saves them: equal at batch 1, 2 and 7 and at several lengths,
with the interface that people can call, and refused for good reasons."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.convert.convert import BrokenSourceModel, CodeInWeights
from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.formats.code import ModelRunsCode
from builder.host import Host
from builder.model.parity import ConversionDiffers
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer, answer_plain
from builder.plan.spec import ConvertOptions
from builder.resources import worker_source
from builder.targets import find_target

pytestmark = pytest.mark.network

SCRIPTS = Path(__file__).parents[1] / "support" / "scripts"
TASKS = {
    "sentences": ["last_hidden_state", "sentence_embedding"],
    "encoder": ["last_hidden_state", "pooler_output"],
    "classifier": ["logits"],
    "labels": ["logits"],
    "entities": ["logits"],
    "gpt2": ["logits"],
    "llama": ["logits"],
    "t5": ["logits"],
    "vit": ["logits"],
    "resnet": ["logits"],
    "wav2vec2": ["logits"],
}
TWICE = ("sentences", "t5", "vit")
REFUSED = {
    "lacking": (
        "bad-model",
        "the weights lack classifier.bias, classifier.weight, which BertForSequenceClassification",
    ),
    "unknown": ("unsupported", "the architecture 'BartleFormerModel' of config.json is no model of transformers 5"),
    "short": ("bad-model", "incomplete"),
    "mute": ("bad-model", "its tokenizer: "),
}
Load = Callable[[str], LoadedModel]
Seen = dict[str, dict[str, Any]]


def python_of(host: Host) -> Path:
    return ensure_environment(CONVERTERS["huggingface"].environment, host)


def run(*argv: object) -> None:
    subprocess.run([str(word) for word in argv], check=True, timeout=500, capture_output=True)


@pytest.fixture(scope="module")
def written(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model directories that the script writes, with the transformers of the converter."""
    place = tmp_path_factory.mktemp("hf") / "models"
    place.mkdir()
    run(python_of(host), "-s", SCRIPTS / "make_hf_models.py", place)
    return place


@pytest.fixture(scope="module")
def seen(host: Host, written: Path) -> Seen:
    """What all of them are as ONNX, converted in one process, since most of its time is the start of torch."""
    result, workers = written.parent / "seen.json", worker_source("huggingface_worker").parent
    run(
        *(python_of(host), "-s", SCRIPTS / "convert_hf_models.py"),
        *(workers, written, written.parent / "scratch", result, ",".join(TWICE), *TASKS, "--", *REFUSED),
    )
    found: Seen = json.loads(result.read_text())
    return found


@pytest.fixture
def load(host: Host, written: Path) -> Load:
    target = find_target("cpu", Platform.of_this_machine())
    return lambda name: load_model(find_model(written / name), target, host)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_computes_the_same(seen: Seen, name: str) -> None:
    model = seen[name]
    assert list(model["outputs"]) == TASKS[name]
    assert model["error"] < 1e-5
    assert {shape[0] for shape in model["shapes"]} == {1, 2, 7}
    assert all(shape[0] == "batch" for shape in (*model["inputs"].values(), *model["outputs"].values()))


@pytest.mark.parametrize("name", TWICE)
def test_the_bytes_depend_on_the_directory_alone(seen: Seen, name: str) -> None:
    assert seen[name]["same"]


def test_lengths_go_from_one_token_to_the_last_position(seen: Seen) -> None:
    assert {shape[1] for shape in seen["encoder"]["shapes"]} >= {1, 8, 11, 16, 40}
    # RoBERTa counts its positions from the padding's id on.
    assert max(shape[1] for shape in seen["entities"]["shapes"]) == 38
    assert len({tuple(shape[2:]) for shape in seen["resnet"]["shapes"]}) > 1


def test_inputs_are_those_that_the_config_has(seen: Seen) -> None:
    assert list(seen["classifier"]["inputs"]) == ["input_ids", "attention_mask", "token_type_ids"]
    assert list(seen["entities"]["inputs"]) == ["input_ids", "attention_mask"]
    assert list(seen["t5"]["inputs"]) == ["input_ids", "attention_mask", "decoder_input_ids"]
    assert seen["vit"]["inputs"] == {"pixel_values": ["batch", 3, 32, 32]}
    assert seen["resnet"]["inputs"] == {"pixel_values": ["batch", 3, "height", "width"]}
    assert seen["t5"]["outputs"] == {"logits": ["batch", "decoder_sequence", 60]}
    assert seen["wav2vec2"]["outputs"] == {"logits": ["batch", "logits_1", 12]}


def test_a_sentence_is_one_vector(seen: Seen) -> None:
    model = seen["sentences"]
    before = model["interface"]["before"]
    assert model["interface"]["outputs"] == [{"name": "embedding", "datatype": "FP32", "shape": ["batch", 8]}]
    assert (before["max_length"], before["pad_token"], before["feeds"]["token_type_ids"]) == (24, "[PAD]", "type_ids")
    vectors = np.array([ast.literal_eval(row) for row in model["plain"]["embedding"]])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_labels_and_entities(seen: Seen) -> None:
    one, several, tokens = (seen[name]["interface"]["after"] for name in ("classifier", "labels", "entities"))
    assert (one["activation"], one["labels"]) == ("softmax", ["bad", "fine", "good"])
    assert several["activation"] == "sigmoid"
    assert tokens["labels"] == ["O", "B-PER", "I-PER"]
    texts = [json.loads(ast.literal_eval(line)) for line in seen["entities"]["plain"]["entities"]]
    assert texts[0]
    assert texts[1] == []
    assert all(entry["text"] == "  Ada, meet Bob! "[entry["start"] : entry["end"]] for entry in texts[0])


def test_an_image_model_says_how_its_pixels_are_made(seen: Seen) -> None:
    before, cropped = (seen[name]["interface"]["before"] for name in ("vit", "resnet"))
    assert (before["resize"], before["resample"], before["crop"]) == ({"height": 32, "width": 32}, "bilinear", None)
    assert (before["mean"], before["std"]) == ([0.5] * 3, [0.5] * 3)
    assert (cropped["resize"], cropped["crop"]) == ({"shortest_edge": 36}, {"height": 32, "width": 32})


@pytest.mark.parametrize("name", ["gpt2", "llama", "t5", "wav2vec2"])
def test_no_plain_interface_is_promised_that_is_none(seen: Seen, name: str) -> None:
    """Generation and sound are asked with tensors."""
    assert seen[name]["interface"] is None


def test_a_build_answers_the_converters_own_cases(load: Load, host: Host) -> None:
    """The model lies in a subdirectory, and one layer of it is pickled."""
    model = load("sentences")
    assert {case.name for case in model.cases} >= {"generated-batch-7", "generated-longest"}
    cases, parity = answer(model, host)  # raises ConversionDiffers
    assert len(parity.cases) == len(cases) == 5
    masks = [case.inputs["attention_mask"] for case in cases]
    assert any((mask == 0).any() for mask in masks)
    assert all((mask[:, 0] == 1).all() for mask in masks)


def test_from_an_image_file_to_its_label_as_transformers_does_it(load: Load, host: Host) -> None:
    """Resized by its shorter edge and cropped; with pixels of another scale the gate stops it."""
    model = load("resnet")
    cases, _ = answer_plain(model, host)
    assert [len(case.outputs["label"]) for case in cases] == [2, 1, 7]
    assert model.plain is not None
    before = {**model.plain.interface.before, "rescale": 1.0}
    wrong = replace(model.plain, interface=replace(model.plain.interface, before=before))
    with pytest.raises(ConversionDiffers, match=r"Transformers computes: case generated-., output 'label'"):
        answer_plain(replace(model, plain=wrong), host)


@pytest.mark.parametrize(("name", "component"), [("classifier", "tokenizer"), ("resnet", "image_processor")])
def test_what_mlflow_puts_beside_the_weights_is_found(
    written: Path, host: Host, tmp_path: Path, name: str, component: str
) -> None:
    apart = tmp_path / "components" / component
    apart.mkdir(parents=True)
    for path in shutil.copytree(written / name, tmp_path / "model").iterdir():
        if path.name not in ("config.json", "model.safetensors"):
            path.rename(apart / path.name)
    assert list(apart.iterdir())
    (tmp_path / "MLmodel").write_text(
        f"flavors:\n  transformers:\n    model_binary: model\n    components: [{component}]\n"
    )
    model = load_model(find_model(tmp_path), find_target("cpu", Platform.of_this_machine()), host)
    cases, _ = answer_plain(model, host)
    assert cases[0].outputs["label"].size


@pytest.mark.parametrize(("name", "told"), [("pickle", r"posix\.system"), ("code", r"modeling_own\.Own")])
def test_code_is_refused_and_not_run(load: Load, written: Path, name: str, told: str) -> None:
    with pytest.raises(ModelRunsCode, match=told):
        load(name)
    assert not (written / "canary").exists()


def test_pickled_weights_that_call_are_refused_even_where_code_is_allowed(written: Path, host: Host) -> None:
    found = find_model(written / "pickle", ConvertOptions(allow_code=True))
    with pytest.raises(CodeInWeights):
        load_model(found, find_target("cpu", Platform.of_this_machine()), host)
    assert not (written / "canary").exists()


def test_allowed_code_runs_in_the_sandbox_only(written: Path, host: Host) -> None:
    """The class of the directory becomes ONNX; the file that its module touches is none of this machine."""
    found = find_model(written / "code", ConvertOptions(allow_code=True))
    model = load_model(found, find_target("cpu", Platform.of_this_machine()), host)
    assert [tensor.name for tensor in model.signature.outputs] == ["logits"]
    assert not (written / "canary").exists()


def test_weights_that_lack_a_layer_are_refused(load: Load) -> None:
    """transformers would warn and go on with random numbers."""
    with pytest.raises(BrokenSourceModel, match=r"the weights lack classifier\.bias, classifier\.weight"):
        load("lacking")


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_whole_is_refused_in_words(seen: Seen, name: str) -> None:
    kind, words = REFUSED[name]
    assert seen[name]["kind"] == kind
    assert words in seen[name]["told"]
