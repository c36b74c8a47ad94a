from __future__ import annotations

from pathlib import Path, PurePosixPath

import onnx
import pytest
from onnx import TensorProto, helper

from builder.formats.onnx import (
    BrokenOnnx,
    GraphTooLarge,
    OnnxLimits,
    UnknownOperators,
    UnsupportedIr,
    UnsupportedOpset,
    read_model,
    stage_artifact,
)
from builder.formats.onnx_signature import UnknownRank, UnsupportedTensor
from builder.formats.onnx_tensors import (
    ExternalDataEscapes,
    ExternalDataMalformed,
    ExternalDataMissing,
    ExternalDataShort,
    GitLfsPointer,
)
from builder.model.signature import Datatype
from builder.model.source import LinkLeavesDirectory, list_model
from builder.oci.digest import Digest
from tests.support import onnx_models
from tests.support.golden import Golden
from tests.support.models import (
    complaint,
    operator_model,
    read_directory,
    save,
    save_external,
    save_identity,
    save_mlp,
)


def test_describes_a_model(tmp_path: Path) -> None:
    save_mlp(tmp_path / "nets" / "any-name.onnx")
    model = read_directory(tmp_path)
    assert (str(model.entry), model.opset, model.ir) == ("nets/any-name.onnx", 17, 9)
    assert model.signature.to_json() == {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": ["n", 4]}],
        "outputs": [{"name": "p", "datatype": "FP32", "shape": ["n", 3]}],
    }


@pytest.mark.parametrize("datatype", [datatype for datatype in Datatype if datatype is not Datatype.BF16])
def test_every_datatype(tmp_path: Path, datatype: Datatype) -> None:
    save_identity(tmp_path / "model.onnx", datatype.value)
    assert read_directory(tmp_path).signature.inputs[0].datatype is datatype


def test_what_the_protocol_cannot_carry_is_named(tmp_path: Path) -> None:
    save_identity(tmp_path / "model.onnx", "BF16")
    with pytest.raises(UnsupportedTensor, match=r"input 'x' of model.onnx is of type BFLOAT16"):
        read_directory(tmp_path)
    model = onnx_models.mlp()
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, ("n",))
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(tensor))
    save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedTensor, match=r"output 'p' of model.onnx is a sequence"):
        read_directory(tmp_path)


def test_initializers_are_no_inputs(tmp_path: Path) -> None:
    model = onnx_models.mlp()
    for tensor in model.graph.initializer:
        model.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    save(model, tmp_path / "model.onnx")
    assert [tensor.name for tensor in read_directory(tmp_path).signature.inputs] == ["x"]


def test_dims_without_a_name_get_one(tmp_path: Path) -> None:
    model = onnx_models.identity("FP32", ("n", 2, 3))
    shape = model.graph.input[0].type.tensor_type.shape
    shape.dim[0].Clear()
    shape.dim[1].dim_value = -1
    save(model, tmp_path / "model.onnx")
    assert read_directory(tmp_path).signature.inputs[0].shape == ("x.0", "x.1", 3)


def test_an_output_without_a_shape_is_inferred_or_named(tmp_path: Path) -> None:
    model = onnx_models.mlp()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    save(model, tmp_path / "model.onnx")
    assert read_directory(tmp_path).signature.outputs[0].shape == ("n", 3)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    save(model, tmp_path / "model.onnx")
    with pytest.raises(UnknownRank, match="input 'x'"):
        read_directory(tmp_path)


def test_metadata_is_kept(tmp_path: Path) -> None:
    model = onnx_models.mlp()
    helper.set_model_props(model, {"character": "abc", "author": "me"})
    save(model, tmp_path / "model.onnx")
    assert read_directory(tmp_path).metadata == (("author", "me"), ("character", "abc"))


def test_a_truncated_model(tmp_path: Path, golden: Golden) -> None:
    path = save_mlp(tmp_path / "model.onnx")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(BrokenOnnx) as caught:
        read_directory(tmp_path)
    golden("errors/truncated-onnx.txt", complaint(caught.value, tmp_path))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x08\x09", b"\0" * 100, b"<html>404</html>", b"\x80\x04K\x01."])
def test_what_is_no_model_at_all(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BrokenOnnx):
        read_directory(tmp_path)


def test_a_git_lfs_pointer_is_recognised(tmp_path: Path) -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    (tmp_path / "model.onnx").write_bytes(pointer)
    with pytest.raises(GitLfsPointer, match=r"model\.onnx"):
        read_directory(tmp_path)
    save_external(tmp_path / "model.onnx", "w.bin")
    (tmp_path / "w.bin").write_bytes(pointer[:120])
    with pytest.raises(GitLfsPointer, match=r"w\.bin"):
        read_directory(tmp_path)


def test_a_file_that_protobuf_cannot_hold(tmp_path: Path) -> None:
    with (tmp_path / "model.onnx").open("wb") as out:
        out.truncate(1 << 31)
    with pytest.raises(GraphTooLarge):
        read_directory(tmp_path)


def test_an_opset_that_is_too_new(tmp_path: Path, golden: Golden) -> None:
    model = onnx_models.mlp()
    model.opset_import[0].version = 27
    save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedOpset) as caught:
        read_directory(tmp_path)
    golden("errors/unsupported-opset.txt", complaint(caught.value, tmp_path))
    assert read_directory(tmp_path, OnnxLimits(opset=27)).opset == 27
    with pytest.raises(UnsupportedOpset, match=r"up to 12 \(the node 'a' is a Gemm of opset 13\)"):
        read_directory(tmp_path, OnnxLimits(opset=12))


def test_an_ml_opset_and_an_ir_that_are_too_new(tmp_path: Path) -> None:
    model = onnx_models.mlp()
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 6))
    save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedOpset, match=r"opset 6 of ai\.onnx\.ml; .* up to 5"):
        read_directory(tmp_path)
    model = onnx_models.mlp()
    model.ir_version = 14
    save(model, tmp_path / "model.onnx")
    with pytest.raises(UnsupportedIr, match="IR version 14"):
        read_directory(tmp_path)


def test_operators_of_nobody_are_named_also_inside_branches(tmp_path: Path) -> None:
    foreign = helper.make_node("Fancy", ["x"], ["z"], domain="my.ops")
    branch = helper.make_graph([foreign], "b", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, ("n",))])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    save(operator_model(node, domains={"my.ops": 1}), tmp_path / "model.onnx")
    with pytest.raises(UnknownOperators, match=r"my\.ops::Fancy"):
        read_directory(tmp_path)


def test_operators_of_onnxruntime_and_of_the_models_own_functions_are_known(tmp_path: Path) -> None:
    save(
        operator_model(
            helper.make_node("FastGelu", ["x"], ["y"], domain="com.microsoft"), domains={"com.microsoft": 1}
        ),
        tmp_path / "model.onnx",
    )
    assert read_directory(tmp_path).opset == 17
    model = operator_model(helper.make_node("Twice", ["x"], ["y"], domain="mine"), domains={"mine": 1})
    add = helper.make_node("Add", ["a", "a"], ["b"])
    model.functions.append(helper.make_function("mine", "Twice", ["a"], ["b"], [add], [helper.make_opsetid("", 17)]))
    save(model, tmp_path / "model.onnx")
    assert read_directory(tmp_path).opset == 17


def test_external_data_is_staged_at_its_place_and_never_read_whole(tmp_path: Path) -> None:
    save_external(tmp_path / "sub" / "net.onnx", "weights/w.bin")
    (tmp_path / "README.md").write_text("not packed")
    source = list_model(tmp_path)
    model = read_model(source, PurePosixPath("sub/net.onnx"), OnnxLimits())
    assert model.external == (PurePosixPath("sub/weights/w.bin"),)
    artifact = stage_artifact(source, model)
    assert [str(path) for path, _, _ in artifact.files] == ["model.onnx", "weights/w.bin"]
    for _, local, digest in artifact.files:
        assert digest == Digest.of(local.read_bytes())


@pytest.mark.parametrize(
    "location", ["../secret.bin", "a/../../secret.bin", "/etc/passwd", "C:\\w.bin", "..\\w.bin", "C:w.bin", "a\\w.bin"]
)
def test_external_data_that_escapes(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(128))
    save_external(tmp_path / "model" / "model.onnx", location, size=-1)
    with pytest.raises(ExternalDataEscapes):
        read_directory(tmp_path / "model")


def test_external_data_that_escapes_says_what_to_do(tmp_path: Path, golden: Golden) -> None:
    save_external(tmp_path / "model.onnx", "../secret.bin")
    with pytest.raises(ExternalDataEscapes) as caught:
        read_directory(tmp_path)
    golden("errors/escaping-external-data.txt", complaint(caught.value, tmp_path))


def test_external_data_behind_a_link_that_leaves(tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(128))
    save_external(tmp_path / "model" / "model.onnx", "w.bin", size=-1)
    (tmp_path / "model" / "w.bin").symlink_to("../secret.bin")
    with pytest.raises(LinkLeavesDirectory):
        read_directory(tmp_path / "model")


def test_external_data_in_a_constant_of_a_branch_is_checked_too(tmp_path: Path) -> None:
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    field = tensor.external_data.add()
    field.key, field.value = "location", "/etc/passwd"
    constant = helper.make_node("Constant", [], ["z"], value=tensor)
    branch = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("z", TensorProto.FLOAT, (1,))])
    node = helper.make_node("If", ["q"], ["y"], then_branch=branch, else_branch=branch)
    save(operator_model(node), tmp_path / "model.onnx")
    with pytest.raises(ExternalDataEscapes, match="'c'"):
        read_directory(tmp_path)


def test_external_data_that_is_missing_or_cut(tmp_path: Path) -> None:
    save_external(tmp_path / "model.onnx", "w.bin", size=-1)
    with pytest.raises(ExternalDataMissing, match=r"'w\.bin', which is not there"):
        read_directory(tmp_path)
    save_external(tmp_path / "model.onnx", "w.bin", size=127)
    with pytest.raises(ExternalDataShort, match=r"w\.bin has 127 bytes, .* byte 128"):
        read_directory(tmp_path)


@pytest.mark.parametrize(("key", "value"), [("offset", "-1"), ("offset", "many"), ("length", "12"), ("location", "")])
def test_external_data_that_is_described_wrongly(tmp_path: Path, key: str, value: str) -> None:
    path = save_external(tmp_path / "model.onnx", "w.bin")
    model = onnx.load(path, load_external_data=False)
    for field in model.graph.initializer[0].external_data:
        if field.key == key:
            field.value = value
    save(model, path)
    with pytest.raises(ExternalDataMalformed):
        read_directory(tmp_path)
