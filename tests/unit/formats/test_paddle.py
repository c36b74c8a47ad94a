from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from builder.formats import detect
from builder.formats.code import ModelRunsCode, require_harmless
from builder.formats.paddle import (
    PaddleParametersBroken,
    PaddleParametersMissing,
    PaddleProgramMissing,
    PaddleUnreadable,
)
from builder.model.manifest import read_manifest
from builder.model.source import Detection, list_model


def found(directory: Path) -> Detection:
    source = list_model(directory)
    found = detect(source, read_manifest(source))
    require_harmless(source, found)
    return found


def pir(*operators: str) -> bytes:
    """As Paddle 3 writes it: names of operators and of types under the same key."""
    ops = [{"#": name, "A": [{"AT": {"#": "0.a_str", "D": "x"}, "N": "name"}], "O": []} for name in operators]
    program = {"regions": [{"#": "region_0", "blocks": [{"#": "block_0", "args": [], "ops": ops}]}]}
    base = {"magic": "pir", "trainable": True, "version": 4}
    return json.dumps({"base_code": base, "program": program}, separators=(",", ":")).encode()


def field(number: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes((number << 3 | 2, len(content))) + content


def program_desc(*operators: str, persistable: tuple[str, ...] = ()) -> bytes:
    block = b"\x08\x00\x10" + b"\xff" * 9 + b"\x01"
    for name in ("feed", *persistable):
        block += field(3, field(1, name.encode()) + field(2, b"\x08\x07") + b"\x18\x01")
    for operator in operators:
        block += field(4, field(3, operator.encode()))
    return field(1, block)


def tensor(*dims: int, kind: int = 5) -> bytes:
    described = bytes((0x08, kind)) + b"".join(bytes((0x10, dim)) for dim in dims)
    size = {5: 4, 3: 8}.get(kind, 1)
    for dim in dims:
        size *= dim
    return struct.pack("<IQIi", 0, 0, 0, len(described)) + described + bytes(size)


def write(directory: Path, program: bytes, name: str = "net.json", parameters: bytes = b"") -> Path:
    (directory / name).write_bytes(program)
    if parameters:
        (directory / name).with_suffix(".pdiparams").write_bytes(parameters)
    return directory


@pytest.mark.parametrize(
    ("name", "program"),
    [("net.json", pir("p", "1.data", "1.matmul", "1.fetch")), ("net.pdmodel", program_desc("mul", persistable=("w",)))],
)
def test_a_program_with_its_parameters(tmp_path: Path, name: str, program: bytes) -> None:
    (tmp_path / "net.pdiparams.info").write_bytes(b"\x80\x02}q\x00.")
    (tmp_path / "inference.yml").write_text("Global: {model_name: net}\n")
    detection = found(write(tmp_path, program, name, tensor(4, 3) + tensor(3) + tensor(kind=3)))
    assert (detection.format, str(detection.entry)) == ("paddle", name)
    assert {str(path) for path in detection.covers} == {"net.pdiparams", "net.pdiparams.info"}


def test_a_program_may_have_no_parameters(tmp_path: Path) -> None:
    assert found(write(tmp_path, pir("1.data", "1.relu", "1.fetch"))).format == "paddle"
    (tmp_path / "net.json").unlink()
    assert found(write(tmp_path, program_desc("relu"), "net.pdmodel")).format == "paddle"


@pytest.mark.parametrize(
    ("name", "program"), [("net.json", pir("p", "1.matmul")), ("net.pdmodel", program_desc("mul", persistable=("w",)))]
)
def test_parameters_that_are_not_there(tmp_path: Path, name: str, program: bytes) -> None:
    with pytest.raises(PaddleParametersMissing, match=r"there is no net\.pdiparams") as caught:
        found(write(tmp_path, program, name))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (tensor(4, 3)[:-1], r"tensor 1 ends 1 bytes behind the end"),
        (tensor(2) + tensor(4, 3)[:-40], r"tensor 2 ends 40 bytes"),
        (tensor(2) + bytes(7), r"tensor 2 is none that Paddle writes"),
        (tensor(2) + struct.pack("<IQIi", 0, 0, 0, -1), r"tensor 2 is none .*-1 bytes"),
        (tensor(2, kind=99), r"tensor 1 is none .*99"),
        (struct.pack("<IQIi", 0, 0, 0, 4) + b"\x08\x05\x1a\x7f", r"tensor 1 is none .*cut off"),
        (struct.pack("<IQIi", 0, 0, 0, 12) + b"\x08\x05\x10" + b"\xff" * 8 + b"\x7f", r"tensor 1"),
    ],
)
def test_parameters_that_are_not_whole(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(PaddleParametersBroken, match=words):
        found(write(tmp_path, pir("p", "1.relu"), parameters=content))


@pytest.mark.parametrize(
    ("name", "program", "words"),
    [
        ("net.json", pir("1.data", "1.py_func_", "1.fetch"), "py_func"),
        ("net.json", pir("1.load_combine", "1.relu", "1.save_combine"), "load_combine, save_combine"),
        ("net.json", pir("pd_op.read_file"), "read_file"),
        ("net.json", pir("3.my_relu", "1.run_program"), r"custom_op\.my_relu, run_program"),
        ("net.pdmodel", program_desc("py_func", "relu", "load"), "py_func, load"),
    ],
)
def test_operators_that_reach_out_are_named(tmp_path: Path, name: str, program: bytes, words: str) -> None:
    with pytest.raises(ModelRunsCode, match=f"it names {words}$"):
        found(write(tmp_path, program, name))


def test_operators_hide_neither_in_inner_blocks_nor_behind_a_second_key(tmp_path: Path) -> None:
    inner = json.loads(pir("2.if"))
    inner["program"]["regions"][0]["blocks"][0]["ops"][0]["regions"] = json.loads(pir("1.py_func"))["program"][
        "regions"
    ]
    with pytest.raises(ModelRunsCode, match="py_func"):
        found(write(tmp_path, json.dumps(inner).encode()))
    with pytest.raises(ModelRunsCode, match="py_func"):
        found(write(tmp_path, pir("1.relu").replace(b'{"#":"1.relu"', b'{"#":"1.py_func","#":"1.relu"')))


@pytest.mark.parametrize(
    ("name", "program"),
    [("net.json", pir("1.relu")[:-9]), ("net.pdmodel", program_desc("relu")[:-3]), ("net.json", pir() + b"[" * 3)],
)
def test_a_program_that_was_cut_off(tmp_path: Path, name: str, program: bytes) -> None:
    with pytest.raises(PaddleUnreadable, match=f"{name} is not a whole program"):
        found(write(tmp_path, program, name))


@pytest.mark.parametrize(
    ("name", "content"), [("net.pdparams", b"\x80\x04}\x94."), ("net.pdiparams", tensor(4, 3) + tensor(3))]
)
def test_weights_without_a_program_are_refused_with_what_to_do(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PaddleProgramMissing, match=f"{name} holds parameters") as caught:
        found(tmp_path)
    assert "paddle.jit.save(layer, 'model', input_spec=" in caught.value.advice


def test_other_json_is_none(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"base_code": {"magic": "other"}}')
    (tmp_path / "net.pdmodel").write_bytes(b"\x0a\x03abc")
    write(tmp_path, pir("1.relu"), "model.json")
    assert str(found(tmp_path).entry) == "model.json"
