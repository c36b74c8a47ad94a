from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
from jsonschema import Draft202012Validator

from builder.model.generate import generate_cases
from builder.model.golden import Tolerance
from builder.model.manifest import (
    DimRange,
    GoldenSettings,
    ManifestInvalid,
    ManifestUnreadable,
    ModelManifest,
    TwoManifests,
    parse_manifest,
    read_manifest,
    slug,
)
from builder.model.renames import serve_signature, to_graph_names, to_served_names
from builder.model.server_settings import BatchingSettings, ServerSettings
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import list_model
from builder.resources import schema_file
from tests.support.golden import Golden
from tests.support.models import complaint

PATH = PurePosixPath("model.yaml")
BAD = """\
name: Digits CNN
version: 1.0
license: MIT
dims:
  batch: {min: 0, max: lots}
tolerance:
  absolute: -1
  output: {}
golden:
  paths: [../other/*.npz]
server:
  max_body: 1000
  grace_seconds: 99999
labels: {"Team Name": vision, stage: 3}
"""


def parse(text: str) -> ModelManifest:
    return parse_manifest(text.encode(), PATH, "directory")


def problems(text: str) -> str:
    with pytest.raises(ManifestInvalid) as caught:
        parse(text)
    return str(caught.value)


def test_the_schema_is_legal_and_its_defaults_are_those_of_the_types() -> None:
    schema = json.loads(schema_file("model").read_bytes())
    Draft202012Validator.check_schema(schema)
    server = schema["properties"]["server"]["properties"]
    assert {name: field["default"] for name, field in server.items()} == ServerSettings().to_json()
    golden = schema["properties"]["golden"]["properties"]
    assert (golden["seed"]["default"], golden["count"]["default"]) == (GoldenSettings().seed, GoldenSettings().count)
    tolerance = schema["properties"]["tolerance"]["properties"]
    assert (
        Tolerance(absolute=tolerance["absolute"]["default"], relative=tolerance["relative"]["default"]) == Tolerance()
    )


def test_every_key_and_its_place() -> None:
    manifest = parse(
        """
        name: digits
        version: 1.2.0-rc.1+b5
        description: A model
        licence: apache-2.0 OR mit
        format: onnx
        file: nets/digits.onnx
        renames: {inputs: {x: image}, outputs: {p: scores}}
        dims: {batch: {max: 8}, n: {min: 2}, m: {min: 2, opt: 3, max: 4}}
        tolerance: {absolute: 1e-3, outputs: {scores: {relative: 0}}}
        golden: {seed: 7, count: 5, paths: [cases/*.npz]}
        server:
          {grace_seconds: 1.5, max_body_bytes: 2048, threads: 4, queue: 10, batching: {max_batch: 4, preferred: [2, 4]}}
        labels: {team: vision}
        """
    )
    assert (manifest.name, manifest.version, manifest.description) == ("digits", "1.2.0-rc.1+b5", "A model")
    assert (manifest.licence, manifest.format, manifest.file) == ("Apache-2.0 OR MIT", "onnx", "nets/digits.onnx")
    assert manifest.renames.inputs == (("x", "image"),)
    assert manifest.renames.outputs == (("p", "scores"),)
    assert manifest.dims == (
        DimRange(name="batch", min=1, opt=8, max=8),
        DimRange(name="m", min=2, opt=3, max=4),
        DimRange(name="n", min=2, opt=2, max=None),
    )
    assert manifest.tolerance.of("scores") == Tolerance(absolute=1e-3, relative=0)
    assert manifest.tolerance.of("other") == Tolerance(absolute=1e-3)
    assert manifest.golden == GoldenSettings(seed=7, count=5, paths=("cases/*.npz",))
    assert manifest.server == ServerSettings(
        grace_seconds=1.5,
        max_body_bytes=2048,
        threads=4,
        queue=10,
        batching=BatchingSettings(max_batch=4, preferred=(2, 4)),
    )
    assert manifest.labels == (("team", "vision"),)


def test_without_a_file_the_directory_gives_the_name(tmp_path: Path) -> None:
    directory = tmp_path / "My Model_v2"
    directory.mkdir()
    (directory / "model.onnx").touch()
    assert read_manifest(list_model(directory)) == ModelManifest(name="my-model-v2")


def test_an_empty_file_says_nothing() -> None:
    assert parse("# nothing\n") == ModelManifest(name="directory", path=PATH)


def test_two_manifests(tmp_path: Path) -> None:
    for name in ("model.yaml", "model.yml"):
        (tmp_path / name).touch()
    with pytest.raises(TwoManifests):
        read_manifest(list_model(tmp_path))


def test_all_problems_at_once(tmp_path: Path, golden: Golden) -> None:
    (tmp_path / "model.yaml").write_text(BAD)
    with pytest.raises(ManifestInvalid) as caught:
        read_manifest(list_model(tmp_path))
    golden("errors/bad-model-yaml.txt", complaint(caught.value, tmp_path))


def test_what_a_schema_cannot_say_is_also_collected() -> None:
    text = problems(
        "licence: my own\ndims: {n: {min: 3, opt: 2}}\nrenames: {inputs: {a: x, b: x}}\ntolerance: {relative: .nan}"
    )
    assert "licence: 'my own' is not an SPDX licence expression" in text
    assert "dims.n: min 3, opt 2 are not in rising order" in text
    assert "renames.inputs: two tensors are renamed to 'x'" in text
    assert "a number is not finite" in text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name: a\nname: b", "line 2: the key 'name' stands here a second time"),
        ("server:\n  queue: 1\n  queue: 2", "line 3: the key 'queue' stands here a second time"),
        ("description: &a x\nname: *a", "line 2: aliases"),
        ("- name", "not a mapping"),
        ("just text", "not a mapping"),
        ("1: x", "line 1: the key '1' is not text"),
        ("? [a]\n: x", "line 1: the key"),
        ("name: [", "line 1"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("name: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("name: \x07", "special characters"),
        ("description: " + "x" * (1 << 20), "at most 1048576"),
    ],
)
def test_refuses_yaml_that_hides_something(text: str, reason: str) -> None:
    with pytest.raises(ManifestUnreadable, match=r"^model\.yaml is not YAML") as caught:
        parse(text)
    assert reason in str(caught.value)


def test_latin_1_is_told_and_not_a_traceback() -> None:
    with pytest.raises(ManifestUnreadable):
        parse_manifest("description: Prüfung".encode("latin-1"), PATH, "d")


@pytest.mark.parametrize("path", ["../x", "/x", "a/../x", "..", "a\\..\\b", "\\x"])
def test_paths_stay_inside(path: str) -> None:
    assert "is not a path inside the model directory" in problems(f"file: '{path}'")


@pytest.mark.parametrize("path", ["..x", "a..b/c", "a/..x", "x/...y"])
def test_dots_in_names_are_names(path: str) -> None:
    assert parse(f"file: {path}").file == path


@pytest.mark.parametrize(
    ("text", "name"),
    [("Digits", "digits"), ("a__b", "a-b"), ("ResNet-50 (v1.5)", "resnet-50-v1-5"), ("模型", "model"), ("-x-", "x")],
)
def test_slug(text: str, name: str) -> None:
    assert slug(text) == name
    assert parse(f"name: {slug(text)}").name == name


SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=Datatype.FP32, shape=("batch", 4)),),
    outputs=(TensorSpec(name="y", datatype=Datatype.FP32, shape=("batch", 2)),),
)


def test_renames_show_in_the_signature_and_in_cases() -> None:
    manifest = parse("renames: {inputs: {x: image}}\ntolerance: {outputs: {y: {absolute: 1}}}\ndims: {batch: {max: 4}}")
    served = serve_signature(SIGNATURE, manifest)
    assert [tensor.name for tensor in served.inputs] == ["image"]
    case = generate_cases(served, manifest)[0]
    inside = to_graph_names(case, manifest.renames)
    assert set(inside.inputs) == {"x"}
    assert set(to_served_names(inside, manifest.renames).inputs) == {"image"}


def test_names_that_the_model_does_not_have_are_all_told() -> None:
    manifest = parse(
        "renames: {inputs: {X: image}, outputs: {y: x}}\n"
        "dims: {btach: {max: 4}}\n"
        "tolerance: {outputs: {y: {absolute: 1}}}"
    )
    with pytest.raises(ManifestInvalid) as caught:
        serve_signature(SIGNATURE, manifest)
    text = str(caught.value)
    assert "renames.inputs.X: the model has no such input (did you mean 'x'?)" in text
    assert "dims.btach: the model has no such dynamic dim (did you mean 'batch'?)" in text
    assert "tolerance.outputs.y: the model has no such output (there is x)" in text
