from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from builder.formats import SeveralModels, WrappedModelNotRead, detect
from builder.formats.protobuf_text import parse
from builder.formats.triton import TritonMismatch, require_as_configured
from builder.formats.triton_config import TritonConfigInvalid, parse_config
from builder.model.manifest import read_manifest
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import Detection, list_model
from tests.support.models import save_mlp

KNOWN = Path(__file__).parents[2] / "support" / "known"
PATH = PurePosixPath("net/config.pbtxt")
MLP = """
name: "net"  # a comment
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4 ] } ]
output { name: "p", data_type: TYPE_FP32, dims: 3 }
dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "k" value: { string_value: "v" } }
"""
X = TensorSpec(name="x", datatype=Datatype.FP32, shape=("n", 4))
P = TensorSpec(name="p", datatype=Datatype.FP32, shape=("n", 3))


def repository(root: Path, name: str = "net", config: str = MLP, versions: tuple[int, ...] = (1,)) -> Path:
    for version in versions:
        save_mlp(root / name / str(version) / "model.onnx")
    (root / name / "config.pbtxt").write_text(config)
    return root


def found(directory: Path) -> Detection:
    source = list_model(directory)
    return detect(source, read_manifest(source))


def test_a_configuration_and_what_is_skipped_of_it() -> None:
    config = parse_config(MLP.encode(), PATH)
    assert (config.runtime, config.max_batch) == ("onnxruntime", 8)
    assert config.inputs == (TensorSpec(name="x", datatype=Datatype.FP32, shape=("batch", 4)),)
    assert config.outputs == (TensorSpec(name="p", datatype=Datatype.FP32, shape=("batch", 3)),)


def test_every_form_of_a_value() -> None:
    text = """a: 0x1f b: -7, c: 1.5e3f; d: 'one '  # a comment
        "line\\n"
        e < f: [ 1, 2 ] g: [ { h: true }, { h: NONE } ] > i [ ] a: 010"""
    inner = {"f": [1, 2], "g": [{"h": ["true"]}, {"h": ["NONE"]}]}
    assert parse(text) == {"a": [31, 8], "b": [-7], "c": [1500.0], "d": ["one line\n"], "e": [inner], "i": []}


def test_shapes_without_a_batch_of_triton_text_and_reshapes() -> None:
    config = parse_config(
        b"""platform: "onnxruntime_onnx"
        input { name: "ids" data_type: TYPE_INT64 dims: [ -1, -1, 7 ] optional: true }
        input { name: "text" data_type: TYPE_STRING dims: [ 1 ] reshape { shape: [ ] } }
        version_policy: { specific: { versions: [ 2, 5 ] } }""",
        PATH,
    )
    assert [spec.shape for spec in config.inputs] == [("batch", "ids_1", 7), ()]
    assert config.inputs[1].datatype is Datatype.BYTES
    assert (config.versions, config.optional) == ((2, 5), {"ids"})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"input [", "line 1: the end stands where a colon or { should"),
        (b"input [ {} {} ]", "line 1: { stands where a comma or ] should"),
        (b"a: 1\nname 'x'", "line 2: 'x' stands where a colon or { should"),
        (b"a: 1 }", "line 1: } stands where the name of a field should"),
        (b"a { b: 1", "the end stands where the name of a field should"),
        (b"a: }", "} stands where a value should"),
        (b'name: "x', "line 1: '\"' stands where"),
        (b"a {" * 100, "nested too deeply"),
        (b"backend: onnxruntime", "backend: it is 'onnxruntime', not a text in quotes"),
        (b'max_batch_size: "x"', "max_batch_size: it is 'x', not a whole number"),
        (b"max_batch_size: -1", "max_batch_size: it is -1"),
        (b"input: 3", "input: it is 3, not a message"),
        (b"\xff", "utf-8"),
        (b"input { data_type: TYPE_FP32 }", "a tensor has no name"),
        (b'input { name: "x" }', "input x: its data_type is missing"),
        (b'output { name: "x" data_type: TYPE_FLOAT }', "output x: its data_type is FLOAT"),
    ],
)
def test_a_broken_one_is_told(content: bytes, words: str) -> None:
    with pytest.raises(TritonConfigInvalid, match=words) as caught:
        parse_config(content, PATH)
    assert str(caught.value).startswith("net/config.pbtxt: ")


def test_the_highest_version_is_the_model(tmp_path: Path) -> None:
    model = found(repository(tmp_path, versions=(1, 2, 10)))
    assert (model.format, str(model.entry), model.wrapper) == ("onnx", "net/10/model.onnx", "triton")
    assert PurePosixPath("net/1/model.onnx") in model.covers


def test_a_policy_and_another_file_name(tmp_path: Path) -> None:
    more = "version_policy { specific { versions: [ 1, 2 ] } }"
    assert str(found(repository(tmp_path / "a", config=MLP + more, versions=(1, 2, 3))).entry) == "net/2/model.onnx"
    repository(tmp_path / "b", config=MLP + 'default_model_filename: "it.onnx"')
    (tmp_path / "b" / "net" / "1" / "model.onnx").rename(tmp_path / "b" / "net" / "1" / "it.onnx")
    assert str(found(tmp_path / "b").entry) == "net/1/it.onnx"


def test_the_directory_of_one_model_and_a_configuration_that_says_little(tmp_path: Path) -> None:
    repository(tmp_path, config="max_batch_size: 4")
    assert str(found(tmp_path / "net").entry) == "1/model.onnx"


def test_several_models_need_a_word(tmp_path: Path) -> None:
    for name in ("a", "b"):
        repository(tmp_path, name)
    with pytest.raises(SeveralModels, match=r"a/1/model\.onnx\n  b/1/model\.onnx"):
        found(tmp_path)
    (tmp_path / "model.yaml").write_text("file: b/1/model.onnx\n")
    assert (str(found(tmp_path).entry), found(tmp_path).wrapper) == ("b/1/model.onnx", "triton")


def test_a_script_gets_inputs_and_outputs_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "net" / "1").mkdir(parents=True)
    (tmp_path / "net" / "1" / "model.pt").write_bytes((KNOWN / "scripted.pt").read_bytes())
    (tmp_path / "net" / "config.pbtxt").write_text(
        """platform: "pytorch_libtorch" max_batch_size: 2
        input { name: "INPUT__1" data_type: TYPE_INT64 dims: [ 1 ] }
        input { name: "INPUT__0" data_type: TYPE_FP32 dims: [ 2 ] }
        output { name: "OUTPUT__0" data_type: TYPE_FP32 dims: [ 1 ] }"""
    )
    model = found(tmp_path)
    assert (model.format, model.outputs) == ("torchscript", ("OUTPUT__0",))
    assert [(spec.name, spec.shape) for spec in model.inputs] == [
        ("INPUT__0", ("batch", 2)),
        ("INPUT__1", ("batch", 1)),
    ]


@pytest.mark.parametrize(
    ("config", "words", "advice"),
    [
        (
            'platform: "ensemble" ensemble_scheduling { step [ { model_name: "a" } ] }',
            "its backend is ensemble",
            "one by one",
        ),
        ('backend: "python"', "its backend is python", "pack the model that it calls"),
        ('platform: "tensorrt_plan"', "its backend is tensorrt_plan", "ONNX file"),
        ('backend: "vllm"', "its backend is vllm", "export the model to ONNX"),
        ('backend: "pytorch"', r"in net/1 there is model\.onnx", r"model.pt"),
        ("version_policy { specific { versions: 7 } }", "names 7, and there is 1", "a directory with a number"),
    ],
)
def test_what_is_not_read_is_named(tmp_path: Path, config: str, words: str, advice: str) -> None:
    with pytest.raises(WrappedModelNotRead, match=words) as caught:
        found(repository(tmp_path, config=config))
    assert advice in caught.value.advice


def test_a_model_without_a_version(tmp_path: Path) -> None:
    save_mlp(tmp_path / "net" / "model.onnx")
    (tmp_path / "net" / "config.pbtxt").write_text(MLP)
    with pytest.raises(WrappedModelNotRead, match="no version directory, such as net/1"):
        found(tmp_path)


def checked(root: Path, config: str, graph: Signature) -> None:
    source = list_model(repository(root, config=config))
    require_as_configured(source, detect(source, read_manifest(source)), graph)


def test_a_configuration_that_fits(tmp_path: Path) -> None:
    checked(tmp_path, MLP, Signature(inputs=(X,), outputs=(P,)))
    checked(tmp_path, 'backend: "onnxruntime"', Signature(inputs=(X,), outputs=(P,)))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"x"', '"X1"', "input X1: the model has none of this name .did you mean 'x'"),
        ('"x"', '"y"', "input: the model also takes x"),
        ("TYPE_FP32 dims: [ 4 ]", "TYPE_INT64 dims: [ 4 ]", "input x: it is INT64 here, and FP32 in the model"),
        ("dims: [ 4 ]", "dims: [ 5 ]", "input x: axis 1 has 5 here, and 4 in the model"),
        ("dims: [ 4 ]", "dims: [ 1, 4 ]", "input x: it has 3 dims with its batch here, and 2 in the model"),
        ("max_batch_size: 8", "max_batch_size: 0", "input x: it has 1 dims here, and 2 in the model"),
    ],
)
def test_what_differs_from_the_graph(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(TritonMismatch, match=words):
        checked(tmp_path, MLP.replace(old, new), Signature(inputs=(X,), outputs=(P,)))


def test_a_batch_that_the_model_does_not_take(tmp_path: Path) -> None:
    fixed = TensorSpec(name="x", datatype=Datatype.FP32, shape=(1, 4))
    with pytest.raises(TritonMismatch, match="max_batch_size is 8, but its first dim is fixed to 1"):
        checked(tmp_path, MLP, Signature(inputs=(fixed,), outputs=(P,)))
