"""What a ModelPack says of a model, held against the specification's own schema."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from modelpack_client.constants import MODEL_LAYER_MEDIA_TYPES
from modelpack_client.schema import CONFIG_SCHEMA

from builder.model.face import Face
from builder.model.modelpack import ModelPack, build_config, is_model_layer, layer_type, param_size, weight_type
from builder.model.parameters import Parameters
from builder.oci.descriptor import DOCKER_LAYER_GZIP, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD
from builder.oci.digest import Digest
from tests.support.faces import FACE, FACE_MODEL

CREATED = "2026-01-02T03:04:05Z"
DIFF_IDS = [Digest.of(b"one"), Digest.of(b"two")]


def config(face: Face, **labels: str) -> dict[str, Any]:
    value = json.loads(build_config(face, labels, CREATED, DIFF_IDS))
    jsonschema.Draft202012Validator(CONFIG_SCHEMA).validate(value)
    return dict(value)


def test_all_that_a_face_knows() -> None:
    labels = {
        "org.opencontainers.image.authors": "Ada <ada@r.example>",
        "org.opencontainers.image.vendor": "r.example",
        "org.opencontainers.image.documentation": "https://r.example/digits",
        "org.opencontainers.image.source": "https://r.example/digits.git",
        "org.opencontainers.image.revision": "0123abc",
    }
    assert config(replace(FACE, models=(replace(FACE_MODEL, quantized="int8-dynamic"),)), **labels) == {
        "descriptor": {
            "name": "digits",
            "version": "1.0.0",
            "description": FACE.description,
            "licenses": ["Apache-2.0"],
            "createdAt": CREATED,
            "authors": ["Ada <ada@r.example>"],
            "vendor": "r.example",
            "docURL": "https://r.example/digits",
            "sourceURL": "https://r.example/digits.git",
            "revision": "0123abc",
        },
        "config": {"format": "onnx", "paramSize": "12.3K", "precision": "float32", "quantization": "int8-dynamic"},
        "modelfs": {"type": "layers", "diffIds": [str(digest) for digest in DIFF_IDS]},
    }


def test_what_nobody_said_is_not_there() -> None:
    bare = replace(FACE, description="", licence="", version="", models=(replace(FACE_MODEL, parameters=Parameters()),))
    value = config(bare)
    assert value["descriptor"] == {"name": "digits", "createdAt": CREATED}
    assert value["config"] == {"format": "onnx"}


def test_several_models_are_counted_together() -> None:
    other = replace(FACE_MODEL, name="other", parameters=Parameters(count=10**9, precision=("float16", "float32")))
    said = config(replace(FACE, models=(FACE_MODEL, other)))["config"]
    assert (said["paramSize"], said["precision"]) == ("1B", "float32,float16")


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "0.1K"),
        (400, "0.4K"),
        (999, "1K"),
        (1_000, "1K"),
        (1_049, "1K"),
        (1_050, "1.1K"),
        (999_949, "999.9K"),
        (999_950, "1M"),
        (100_000_000, "100M"),
        (6_738_415_616, "6.7B"),
        (10**12, "1T"),
        (2 * 10**15, "2Q"),
        (10**19, "10000Q"),
    ],
)
def test_a_size_in_the_words_of_the_specification(count: int, text: str) -> None:
    assert param_size(count) == text
    assert re.fullmatch(r"\d+(\.\d)?[KMBTQ]", text)


def test_media_types_there_and_back() -> None:
    for ours in (LAYER_TAR, LAYER_GZIP, LAYER_ZSTD):
        assert weight_type(ours) in MODEL_LAYER_MEDIA_TYPES
        assert layer_type(weight_type(ours)) == ours
    assert weight_type(DOCKER_LAYER_GZIP) == weight_type(LAYER_GZIP)


@pytest.mark.parametrize("media_type", sorted(MODEL_LAYER_MEDIA_TYPES))
def test_every_layer_of_the_specification_is_known(media_type: str) -> None:
    assert is_model_layer(media_type) == (".dataset." not in media_type)
    assert bool(layer_type(media_type)) == (".raw" not in media_type)


@pytest.mark.parametrize("form", ["gguf", "safetensors"])
def test_a_file_as_docker_names_it_is_a_file(form: str) -> None:
    docker = f"application/vnd.cncf.model.weight.v1.{form}"
    assert docker not in MODEL_LAYER_MEDIA_TYPES
    assert (is_model_layer(docker), layer_type(docker)) == (True, "")


def test_a_layer_of_an_image_is_none() -> None:
    assert (is_model_layer(LAYER_TAR), layer_type(LAYER_TAR)) == (False, "")


def test_what_was_written_is_read() -> None:
    said = ModelPack.from_json(config(FACE))
    assert (said.name, said.version, said.licences) == ("digits", "1.0.0", ("Apache-2.0",))
    assert (said.format, said.parameters, said.precision) == ("onnx", "12.3K", "float32")


@pytest.mark.parametrize(
    "value", [{}, {"descriptor": [], "config": None}, {"descriptor": {"name": 3, "licenses": "x"}}]
)
def test_what_others_wrote_wrongly_counts_as_not_said(value: dict[str, Any]) -> None:
    said = ModelPack.from_json(value)
    assert (said.name, said.licences, said.format) == ("", (), "")
