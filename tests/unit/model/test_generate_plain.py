"""Generated texts and images: the same bytes for ever, and what a model may stumble over is among them."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import numpy as np

from builder.model.cases import read_both_cases
from builder.model.generate_plain import generate_plain_cases, png
from builder.model.golden import GoldenCase, write_case
from builder.model.interface import parse_interface
from builder.model.manifest import ModelManifest
from builder.model.source import list_model
from builder.oci.digest import Digest
from tests.support import plain_models
from tests.unit.model.test_interface import COLOURS, EMBEDDER

MANIFEST = ModelManifest(name="m")
TEXT = parse_interface(json.dumps(plain_models.embedding_interface()).encode(), EMBEDDER)
IMAGE = parse_interface(json.dumps(plain_models.colour_interface()).encode(), COLOURS)


def test_texts() -> None:
    cases = generate_plain_cases(TEXT, MANIFEST, {"text": (b"only here",)})
    batches = [list(case.inputs["text"]) for case in cases]
    assert [len(batch) for batch in batches] == [1, 7, 2, 1]
    assert b"" in batches[1]
    assert max(len(text) for batch in batches for text in batch) > 20_000
    assert batches[3] == [b"only here"]
    assert all(text.decode() is not None for batch in batches for text in batch)


def test_images_are_the_same_bytes_for_ever() -> None:
    cases = generate_plain_cases(IMAGE, MANIFEST)
    assert [len(case.inputs["image"]) for case in cases] == [2, 1, 7]
    digest = Digest.of(b"".join(item for case in cases for item in case.inputs["image"]))
    assert digest.short == "4241a1ed6cc1"


def test_a_png_has_its_pixels() -> None:
    pixels = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    file = png(pixels, "RGBA")
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    length = struct.unpack(">I", file[33:37])[0]
    lines = zlib.decompress(file[41 : 41 + length])
    assert lines == b"\0" + pixels[0].tobytes() + b"\0" + pixels[1].tobytes()


def test_images_of_several_sizes_only_where_the_model_makes_them_one() -> None:
    value = plain_models.colour_interface()
    del value["before"]["resize"]
    free = parse_interface(json.dumps(value).encode(), COLOURS)
    assert [len(case.inputs["image"]) for case in generate_plain_cases(free, MANIFEST)] == [1, 1, 1, 7]


def test_a_case_is_plain_where_it_has_the_plain_inputs(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    ids = np.ones((1, 3), np.int64)
    cases = (
        GoldenCase(name="a", inputs={"text": np.array([b"fox"])}, outputs={}),
        GoldenCase(name="b", inputs={"input_ids": ids, "attention_mask": ids}, outputs={}),
    )
    for case in cases:
        (tmp_path / "golden" / f"{case.name}.npz").write_bytes(write_case(case))
    tensors, plain = read_both_cases(list_model(tmp_path), MANIFEST, EMBEDDER, TEXT.signature)
    assert ([case.name for case in tensors], [case.name for case in plain]) == (["b"], ["a"])
