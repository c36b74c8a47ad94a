"""interface.json is held against the graph, and all that does not fit is said at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from builder.model.interface import InterfaceInvalid, parse_interface
from builder.model.signature import Datatype, Signature, TensorSpec
from tests.support import plain_models


def tensor(name: str, datatype: Datatype, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


EMBEDDER = Signature(
    inputs=tuple(tensor(name, Datatype.INT64, "batch", "sequence") for name in ("input_ids", "attention_mask")),
    outputs=(tensor("sentence_embedding", Datatype.FP32, "batch", 4),),
)
TAGGER = Signature(
    inputs=(tensor("input_ids", Datatype.INT64, "batch", "sequence"),),
    outputs=(tensor("logits", Datatype.FP32, "batch", "sequence", 3),),
)
COLOURS = Signature(
    inputs=(tensor("pixel_values", Datatype.FP32, "batch", 3, 8, 8),),
    outputs=(tensor("logits", Datatype.FP32, "batch", 3),),
)


def parsed(value: object, graph: Signature) -> Any:
    return parse_interface(json.dumps(value).encode(), graph)


@pytest.mark.parametrize(
    ("value", "graph", "files"),
    [
        (plain_models.embedding_interface(), EMBEDDER, ("tokenizer.json",)),
        (plain_models.tagging_interface(), TAGGER, ("tokenizer.json",)),
        (plain_models.colour_interface(), COLOURS, ()),
    ],
)
def test_what_fits_is_read_and_written_again(value: dict[str, Any], graph: Signature, files: tuple[str, ...]) -> None:
    interface = parsed(value, graph)
    assert interface.to_json() == value
    assert interface.files == files


Change = Callable[[dict[str, Any]], object]
WRONG: list[tuple[str, Change, str]] = [
    ("embed", lambda v: v["before"]["feeds"].pop("attention_mask"), "the graph's input 'attention_mask' is not fed"),
    ("embed", lambda v: v["before"]["feeds"].update(token_type="type_ids"), "the graph has no input 'token_type'"),
    ("embed", lambda v: v["before"]["feeds"].update(input_ids="tokens"), "before.feeds.input_ids"),
    ("embed", lambda v: v["before"].update(file="../tokenizer.json"), "is not the name of a file beside"),
    ("embed", lambda v: v["before"].update(step="sing"), "before.step"),
    ("embed", lambda v: v["before"].update(max_length=0), "less than the minimum, 1"),
    ("embed", lambda v: v["before"].update(maximum=9), "before.maximum: there is no such key"),
    ("embed", lambda v: v["before"].pop("pad_token"), "'pad_token' is a required property"),
    ("embed", lambda v: v["inputs"][0].update(name="words"), "it is 'text'; `inputs` must have that one alone"),
    ("embed", lambda v: v["inputs"][0].update(datatype="FP32"), "must have that one alone, BYTES"),
    ("embed", lambda v: v["after"]["outputs"].update(embedding="pooled"), "the graph has no output 'pooled'"),
    ("embed", lambda v: v["outputs"][0].update(name="vector"), "'vector' is not both there"),
    ("embed", lambda v: v["outputs"][0].update(datatype="FP64"), "the graph's 'sentence_embedding' is FP32"),
    ("embed", lambda v: v.update(schema=2), "schema"),
    ("embed", lambda v: v.pop("after"), "'after' is a required property"),
    ("tag", lambda v: v["after"]["labels"].append("TIME"), "there are 4, the graph gives 3 scores"),
    ("tag", lambda v: v["outputs"][0].update(name="found"), "the step tokens gives entities BYTES"),
    ("colour", lambda v: v["after"].update(step="tokens") or v["after"].pop("activation"), "needs the step tokenize"),
    ("colour", lambda v: v["before"].update(feeds="pixels"), "the graph has no input 'pixels'"),
    ("colour", lambda v: v["before"].update(resize={"height": 8}), "before.resize"),
    ("colour", lambda v: v["outputs"].pop(), "the step classify gives label BYTES, scores FP32"),
]


@pytest.mark.parametrize(("kind", "change", "words"), WRONG, ids=[words[:30] for _, _, words in WRONG])
def test_what_does_not_fit_is_named(kind: str, change: Change, words: str) -> None:
    value, graph = {
        "embed": (plain_models.embedding_interface(), EMBEDDER),
        "tag": (plain_models.tagging_interface(), TAGGER),
        "colour": (plain_models.colour_interface(), COLOURS),
    }[kind]
    change(value)
    with pytest.raises(InterfaceInvalid) as caught:
        parsed(value, graph)
    assert words in str(caught.value)
    assert caught.value.exit_code == 3


def test_ids_of_another_datatype_and_no_json() -> None:
    narrow = Signature(inputs=(tensor("input_ids", Datatype.INT32, "batch", "sequence"),), outputs=TAGGER.outputs)
    with pytest.raises(InterfaceInvalid, match=r"is INT32 .*; the step gives INT64 of 2 dims"):
        parsed(plain_models.tagging_interface(), narrow)
    with pytest.raises(InterfaceInvalid, match="it is not JSON"):
        parse_interface(b"{", EMBEDDER)
