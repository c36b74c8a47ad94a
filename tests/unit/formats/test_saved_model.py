"""SavedModels and TensorFlow Lite files as their formats lay them out, with operations that reach out."""

from __future__ import annotations

import struct
from pathlib import Path, PurePosixPath

import pytest

from builder.formats import detect
from builder.formats.code import ModelRunsCode, require_harmless
from builder.formats.saved_model import SavedModelUnreadable, outward_operations
from builder.formats.tensorflow_ops import reaches_out
from builder.formats.tflite import TFLiteUnreadable
from builder.model.manifest import read_manifest
from builder.model.source import Detection, ModelSource, list_model


def field(number: int, *contents: bytes) -> bytes:
    """A field with a length, of protobuf."""
    return b"".join(varint(number << 3 | 2) + varint(len(content)) + content for content in contents)


def varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + varint(rest) if rest else bytes([low])


def node(name: str, op: str, *inputs: str, calls: str = "", output_stream: str = "") -> bytes:
    content = field(1, name.encode()) + field(2, op.encode()) + field(3, *(one.encode() for one in inputs))
    if calls:
        content += field(5, field(1, b"f") + field(2, field(10, field(1, calls.encode()))))
    if output_stream:
        content += field(5, field(1, b"output_stream") + field(2, field(2, output_stream.encode())))
    return content


def function(name: str, *nodes: bytes) -> bytes:
    return field(1, field(1, field(1, name.encode())) + field(3, *nodes))


def saved_model(
    directory: Path, *nodes: bytes, functions: bytes = b"", init: str = ""
) -> tuple[ModelSource, Detection]:
    """With a signature that answers ``answer:0``, and a saver as every SavedModel has one."""
    saving = (node("saving", "StatefulPartitionedCall", calls="traced_save"), node("restoring", "NoOp"))
    library = functions + function("traced_save", node("write", "SaveV2"), node("merge", "MergeV2Checkpoints"))
    graph = field(1, *nodes, *saving) + field(2, library)
    saver = field(1, b"name:0") + field(2, b"saving:0") + field(3, b"restoring")
    signature = field(1, b"serving_default") + field(2, field(2, field(1, b"y") + field(2, field(1, b"answer:0"))))
    collection = field(1, b"saved_model_main_op") + field(2, field(1, field(1, init.encode()))) if init else b""
    meta = field(2, graph) + field(3, saver) + (field(4, collection) if collection else b"") + field(5, signature)
    place = directory / "inner"
    (place / "variables").mkdir(parents=True)
    (place / "variables" / "variables.index").write_bytes(b"index")
    (place / "saved_model.pb").write_bytes(b"\x08\x01" + field(2, meta))
    return found(directory)


def found(directory: Path) -> tuple[ModelSource, Detection]:
    source = list_model(directory)
    return source, detect(source, read_manifest(source))


def test_a_saved_model_covers_its_directory_and_may_be_saved_again(tmp_path: Path) -> None:
    source, model = saved_model(tmp_path, node("x", "Placeholder"), node("answer", "Relu", "x"))
    assert (model.format, model.entry) == ("tensorflow", PurePosixPath("inner/saved_model.pb"))
    assert model.covers == {PurePosixPath("inner/variables/variables.index")}
    require_harmless(source, model)


@pytest.mark.parametrize("op", ["WriteFile", "ReadFile", "EagerPyFunc", "PyFuncStateless", "TextLineDataset"])
@pytest.mark.parametrize("is_inside", [False, True])
def test_operations_that_reach_out_are_found_anywhere(tmp_path: Path, op: str, is_inside: bool) -> None:
    evil = node("evil", op)
    source, model = saved_model(
        tmp_path,
        *(() if is_inside else (evil,)),
        node("answer", "Relu"),
        functions=function("inner", evil) if is_inside else b"",
    )
    with pytest.raises(ModelRunsCode, match=rf"inner/saved_model\.pb .* it names {op}") as caught:
        require_harmless(source, model)
    assert caught.value.exit_code == 4


def test_printing_is_harmless_but_not_into_a_file(tmp_path: Path) -> None:
    assert outward_operations(*saved_model(tmp_path / "a", node("p", "PrintV2", output_stream="stderr"))) == ()
    assert outward_operations(*saved_model(tmp_path / "b", node("p", "PrintV2", output_stream="file:///a"))) == (
        "PrintV2",
    )


@pytest.mark.parametrize(
    ("nodes", "functions", "init"),
    [
        ((node("answer", "Relu", "^write"), node("write", "SaveV2")), b"", ""),
        ((node("answer", "Relu", "c:1"), node("c", "PartitionedCall", calls="f")), ("f", "SaveV2"), ""),
        ((node("answer", "f"),), ("f", "MergeV2Checkpoints"), ""),
        ((node("answer", "Relu"), node("first", "NoOp", "^write"), node("write", "SaveV2")), b"", "first"),
        ((node("answer", "Relu"),), ("unused", "SaveV2"), ""),
        ((node("answer", "StatefulPartitionedCall", calls="traced_save"),), b"", ""),
    ],
)
def test_checkpoints_are_written_by_saving_alone(
    tmp_path: Path, nodes: tuple[bytes, ...], functions: tuple[str, str] | bytes, init: str
) -> None:
    library = functions if isinstance(functions, bytes) else function(functions[0], node("write", functions[1]))
    assert outward_operations(*saved_model(tmp_path, *nodes, functions=library, init=init))


def test_a_graph_that_is_cut_off(tmp_path: Path) -> None:
    source, model = saved_model(tmp_path, node("answer", "Relu"))
    path = tmp_path / "inner" / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SavedModelUnreadable):
        require_harmless(source, model)


def test_ordinary_operations() -> None:
    ordinary = "MatMul ReadVariableOp TensorDataset RestoreV2 InitializeTableFromTextFileV2 Print WriteScalarSummary"
    assert not [op for op in ordinary.split() if reaches_out(op)]


def tflite(directory: Path, custom: bytes) -> tuple[ModelSource, Detection]:
    """A Model with one OperatorCode that has a custom_code, table by table (flatbuffers.dev, internals)."""
    model = struct.pack("<HHHHiI", 8, 8, 0, 4, 8, 4)  # its vtable at 8, the table at 16, a vector at 24
    codes = struct.pack("<II", 1, 12)  # of one, at 28 + 12
    code = struct.pack("<HHHHiI", 8, 8, 0, 4, 8, 4) + struct.pack("<I", len(custom)) + custom + b"\0"
    (directory / "net.tflite").write_bytes(struct.pack("<I", 16) + b"TFL3" + model + codes + code)
    return found(directory)


@pytest.mark.parametrize(("name", "refused"), [("FlexWriteFile", "WriteFile"), ("FlexSaveV2", "SaveV2")])
def test_operations_of_tensorflow_in_tflite(tmp_path: Path, name: str, refused: str) -> None:
    source, model = tflite(tmp_path, name.encode())
    assert model.format == "tflite"
    with pytest.raises(ModelRunsCode, match=rf"net\.tflite .* it names {refused}\b"):
        require_harmless(source, model)


@pytest.mark.parametrize("name", ["FlexErf", "TFLite_Detection_PostProcess", "WriteFile"])
def test_other_custom_operators_are_for_the_converter_to_refuse(tmp_path: Path, name: str) -> None:
    require_harmless(*tflite(tmp_path, name.encode()))


def test_tflite_that_is_cut_off(tmp_path: Path) -> None:
    source, model = tflite(tmp_path, b"FlexWriteFile")
    (tmp_path / "net.tflite").write_bytes((tmp_path / "net.tflite").read_bytes()[:30])
    with pytest.raises(TFLiteUnreadable):
        require_harmless(source, model)
