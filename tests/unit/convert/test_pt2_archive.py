"""Every way in which a .pt2 could run code, in files that torch itself would load."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from builder.convert.workers.pt2_archive import Broken, Unsafe, names_called, trained, write_checked

EXPORTED = Path(__file__).parents[2] / "support" / "known" / "exported.pt2"
PROGRAM = "exported/models/model.json"
WEIGHTS = "exported/data/weights/model_weights_config.json"
Program = dict[str, Any]


class Canary:
    """What loads this pickle runs ``touch``."""

    def __reduce__(self) -> tuple[object, ...]:
        import os

        return os.system, ("touch canary",)


def torch_file(protocol: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Canary(), protocol))
    return content.getvalue()


def rewritten(tmp_path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with zipfile.ZipFile(EXPORTED) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return tmp_path / "model.pt2"


def in_json(member: str, change: Callable[[Program], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        value = json.loads(members[member])
        change(value)
        members[member] = json.dumps(value).encode()

    return apply


def size(expression: str) -> Callable[[dict[str, bytes]], None]:
    def change(value: Program) -> None:
        tensor = next(iter(value["graph_module"]["graph"]["tensor_values"].values()))
        tensor["sizes"][0] = {"as_expr": {"expr_str": expression, "hint": None}}

    return in_json(PROGRAM, change)


def target(name: str) -> Callable[[dict[str, bytes]], None]:
    return in_json(PROGRAM, lambda value: value["graph_module"]["graph"]["nodes"][0].update(target=name))


def tree(kind: str) -> Callable[[dict[str, bytes]], None]:
    text = json.dumps([1, {"type": kind, "context": "null", "children_spec": []}])
    return in_json(
        PROGRAM, lambda value: value["graph_module"]["module_call_graph"][0]["signature"].update(in_spec=text)
    )


def payload(**change: object) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        in_json(WEIGHTS, lambda value: next(iter(value["config"].values())).update(change))(members)
        members["exported/data/weights/weight_0"] = torch_file(2)

    return apply


def member(name: str, content: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda members: members.update({f"exported/{name}": content})


def test_an_honest_file_is_copied_without_samples_guards_and_traces(tmp_path: Path) -> None:
    path = rewritten(tmp_path, in_json(PROGRAM, lambda value: value.update(guards_code=["__import__('os')"])))
    program = write_checked(path, tmp_path / "copy.pt2")
    assert trained(program) == ""
    with zipfile.ZipFile(tmp_path / "copy.pt2") as copy, zipfile.ZipFile(EXPORTED) as original:
        weights = [name for name in original.namelist() if "/weights/weight_" in name]
        assert weights
        for name in weights:
            assert copy.read(name.replace("exported/", "model/")) == original.read(name)
        assert copy.read("model/data/sample_inputs/model.pt") == b""
        written = json.loads(copy.read("model/models/model.json"))
    assert written["guards_code"] == []
    assert all(node["metadata"] == {} for node in written["graph_module"]["graph"]["nodes"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (member("data/sample_inputs/model.pt", torch_file(2)), r"(posix|nt)\.system"),
        (member("data/sample_inputs/model.pt", torch_file(4)), r"(posix|nt)\.system\?"),
        (member("data/sample_inputs/model.pt", pickle.dumps(Canary())), "no file of torch.save"),
        (payload(use_pickle=True), r"weight_0 is a pickle that calls (posix|nt)\.system"),
        (payload(path_name="opaque_obj_0"), "object of another library"),
        (payload(path_name="../../models/model.json"), "object of another library"),
        (size("__import__('os').system('touch canary')"), "no sum or product"),
        (size("Symbol('s0').__class__"), "no sum or product"),
        (size("eval('1')"), "no sum or product"),
        (target("torch.os.system"), r"torch\.os\.system"),
        (target("torch.ops.load_library"), "load_library"),
        (target("torch.ops.aten.__class__"), "__class__"),
        (target("_operator.methodcaller"), "methodcaller"),
        (target("#extension:anything"), "extension"),
        (tree("collections.defaultdict"), "defaultdict"),
        (member("data/aotinductor/model/model.so", b"\x7fELF"), "compiled code"),
        (lambda members: members.update({"other/models/model.json": b"{}"}), "several folders"),
    ],
)
def test_what_would_run_is_named_and_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], named: str
) -> None:
    with pytest.raises(Unsafe, match=named):
        write_checked(rewritten(tmp_path, change), tmp_path / "copy.pt2")
    assert not Path("canary").exists()


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = rewritten(tmp_path, lambda members: None)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(PROGRAM, b"{}")
    with pytest.raises(Unsafe, match="one name twice"):
        write_checked(path, tmp_path / "copy.pt2")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda members: members.pop(PROGRAM), "0 programs"),
        (in_json(PROGRAM, lambda value: value.update(schema_version={"major": 99})), "schema 99"),
        (lambda members: members.pop("exported/data/weights/weight_1"), "weight_1"),
        (lambda members: members.update({PROGRAM: b"{"}), "cannot be read"),
    ],
)
def test_a_broken_file(tmp_path: Path, change: Callable[[dict[str, bytes]], None], told: str) -> None:
    with pytest.raises(Broken, match=told):
        write_checked(rewritten(tmp_path, change), tmp_path / "copy.pt2")


def test_a_name_put_together_on_the_stack_is_never_a_known_one() -> None:
    """The strings that come last are not those that the unpickler takes: two are popped again."""
    hidden = b"\x80\x04\x8c\x05posix\x8c\x06system\x8c\x0bcollections\x8c\x0bOrderedDict00\x93."
    assert names_called(hidden) == ["collections.OrderedDict?"]
