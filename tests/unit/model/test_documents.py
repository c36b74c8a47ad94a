"""The documentation and the example are what the code reads."""

from __future__ import annotations

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from builder.formats import detect
from builder.formats.onnx import OnnxLimits, read_model
from builder.model.cases import read_cases
from builder.model.manifest import parse_manifest, read_manifest
from builder.model.renames import serve_signature
from builder.model.source import list_model
from builder.resources import schema_file

ROOT = Path(__file__).parents[3]


def keys(schema: dict[str, Any]) -> set[str]:
    properties = schema.get("properties", {})
    return set(properties).union(*(keys(inner) for inner in properties.values()))


def test_the_page_shows_every_key_and_is_legal() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "model-yaml.md").read_text(), re.DOTALL)
    parse_manifest(text.encode(), PurePosixPath("model.yaml"), "d")
    (beside,) = re.findall(r"```yml\n(.*?)```", (ROOT / "docs" / "model-yaml.md").read_text(), re.DOTALL)
    assert parse_manifest(beside.encode(), PurePosixPath("model.yaml"), "d").models
    shown = set(re.findall(r"(\w+):", text + beside))
    assert keys(json.loads(schema_file("model").read_bytes())) <= shown


def test_the_digits_example_is_whole() -> None:
    source = list_model(ROOT / "examples" / "digits")
    manifest = read_manifest(source)
    model = read_model(source, detect(source, manifest).entry, OnnxLimits())
    signature = serve_signature(model.signature, manifest)
    cases = read_cases(source, manifest, signature)
    assert {case.name: case.inputs["image"].shape[0] for case in cases} == {
        "held-out-64": 64,
        "held-out-7": 7,
        "one": 1,
    }
    assert all(set(case.outputs) == {"probabilities"} for case in cases)
    assert signature.inputs[0].shape == ("batch", 1, 8, 8)
