"""Small models with an interface that people can call: a tokenizer of few words, a graph that pools, one for images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.support.onnx_models import model_of

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "quick", "brown", "fox", "jumps", "over", "lazy", "dog", "berlin")
LABELS = ("O", "ANIMAL", "PLACE")
DIM = 4


def tokenizer() -> dict[str, Any]:
    """A tokenizer.json with a word for each token; [CLS] before and [SEP] behind."""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    both = [{"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]")]
    ids = {name: {"id": name, "ids": [WORDS.index(name)], "tokens": [name]} for name in ("[CLS]", "[SEP]")}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": word, **special} for number, word in enumerate(WORDS[:4])],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [both[0], sequence, both[1]],
            "pair": [both[0], sequence, both[1]],
            "special_tokens": ids,
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
    }


def _table(columns: int) -> Any:
    return np.random.Generator(np.random.PCG64(7)).standard_normal((len(WORDS), columns)).astype(np.float32)


def embedder() -> onnx.ModelProto:
    """ids and attention_mask [batch, sequence] to the mean of the words' vectors, and the sum of each."""
    ids = dict.fromkeys(("input_ids", "attention_mask"), (TensorProto.INT64, ("batch", "sequence")))
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["vectors"], axis=0),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["vectors", "weights"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "middle"], ["total"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "middle"], ["count"], keepdims=0),
        helper.make_node("Div", ["total", "count"], ["sentence_embedding"]),
    ]
    constants = {"table": _table(DIM), "last": np.array([2], np.int64), "middle": np.array([1], np.int64)}
    return model_of(nodes, ids, {"sentence_embedding": (TensorProto.FLOAT, ("batch", DIM))}, constants)


def tagger() -> onnx.ModelProto:
    """ids to a score for each of LABELS, for every token: animals and places are known by their number."""
    table = np.zeros((len(WORDS), len(LABELS)), np.float32)
    table[:, 0] = 2.0
    table[WORDS.index("fox"), 1] = table[WORDS.index("dog"), 1] = table[WORDS.index("berlin"), 2] = 5.0
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["logits"], axis=0)]
    taken = {"input_ids": (TensorProto.INT64, ("batch", "sequence"))}
    given = {"logits": (TensorProto.FLOAT, ("batch", "sequence", len(LABELS)))}
    return model_of(nodes, taken, given, {"table": table})


def brightness() -> onnx.ModelProto:
    """Pixels [batch, 3, 8, 8] to the mean of each channel, as scores of three colours."""
    nodes = [helper.make_node("ReduceMean", ["pixel_values"], ["logits"], axes=[2, 3], keepdims=0)]
    taken = {"pixel_values": (TensorProto.FLOAT, ("batch", 3, 8, 8))}
    return model_of(nodes, taken, {"logits": (TensorProto.FLOAT, ("batch", 3))})


def tokenize(*feeds: str) -> dict[str, Any]:
    fields = {"input_ids": "ids", "attention_mask": "attention_mask"}
    step = {"step": "tokenize", "file": "tokenizer.json", "input": "text", "max_length": 16, "pad_id": 0}
    return {**step, "pad_token": "[PAD]", "feeds": {name: fields[name] for name in feeds}}


def embedding_interface() -> dict[str, Any]:
    return {
        "schema": 1,
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": ["batch"]}],
        "outputs": [{"name": "embedding", "datatype": "FP32", "shape": ["batch", DIM]}],
        "before": tokenize("input_ids", "attention_mask"),
        "after": {"step": "pass", "outputs": {"embedding": "sentence_embedding"}},
    }


def tagging_interface() -> dict[str, Any]:
    return {
        "schema": 1,
        "inputs": [{"name": "text", "datatype": "BYTES", "shape": ["batch"]}],
        "outputs": [{"name": "entities", "datatype": "BYTES", "shape": ["batch"]}],
        "before": tokenize("input_ids"),
        "after": {"step": "tokens", "scores": "logits", "labels": list(LABELS)},
    }


def colour_interface() -> dict[str, Any]:
    size = {"height": 8, "width": 8}
    return {
        "schema": 1,
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": ["batch"]}],
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": ["batch"]},
            {"name": "scores", "datatype": "FP32", "shape": ["batch", 3]},
        ],
        "before": {"step": "image", "input": "image", "feeds": "pixel_values", "resize": size, "rescale": 1 / 255},
        "after": {
            "step": "classify",
            "scores": "logits",
            "activation": "softmax",
            "labels": ["red", "green", "blue"],
        },
    }


def write_plain(directory: Path, model: onnx.ModelProto, interface: dict[str, Any]) -> Path:
    """A model directory: the graph, the interface, the tokenizer where it names one."""
    directory.mkdir(parents=True, exist_ok=True)
    onnx.save(model, directory / "model.onnx")
    (directory / "interface.json").write_text(json.dumps(interface))
    if interface["before"]["step"] == "tokenize":
        (directory / "tokenizer.json").write_text(json.dumps(tokenizer()))
    return directory
