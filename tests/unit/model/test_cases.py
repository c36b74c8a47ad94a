from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.model.cases import GoldenCasesInvalid, OversizedCase, read_cases, require_portable
from builder.model.golden import GoldenCase, read_case, write_case
from builder.model.manifest import DimRange, GoldenSettings, ModelManifest
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import list_model
from tests.support.golden import Golden
from tests.support.models import complaint

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="ids", datatype=Datatype.INT64, shape=("batch", "length")),
        TensorSpec(name="mask", datatype=Datatype.BOOL, shape=("batch", "length")),
    ),
    outputs=(TensorSpec(name="scores", datatype=Datatype.FP32, shape=("batch", 2)),),
)
TEXT = Signature(
    inputs=(TensorSpec(name="text", datatype=Datatype.BYTES, shape=("n",)),),
    outputs=(TensorSpec(name="text", datatype=Datatype.BYTES, shape=("n",)),),
)
IDS, MASK, SCORES = np.zeros((3, 5), np.int64), np.ones((3, 5), np.bool_), np.zeros((3, 2), np.float32)


def read(directory: Path, signature: Signature = SIGNATURE, **manifest: Any) -> tuple[GoldenCase, ...]:
    (directory / "model.onnx").touch()
    return read_cases(list_model(directory), ModelManifest(name="m", **manifest), signature)


def refusal(directory: Path, signature: Signature = SIGNATURE, **manifest: Any) -> str:
    with pytest.raises(GoldenCasesInvalid) as caught:
        read(directory, signature, **manifest)
    return str(caught.value)


def save(directory: Path, name: str, **arrays: Any) -> None:
    """Keyword ``input_x`` becomes the array ``input:x``."""
    path = directory / "golden" / name
    path.parent.mkdir(exist_ok=True)
    named = {key.replace("input_", "input:").replace("output_", "output:"): array for key, array in arrays.items()}
    np.savez(path, **named)


def save_json(directory: Path, name: str, body: object) -> None:
    path = directory / "golden" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(body if isinstance(body, str) else json.dumps(body))


def tensor(name: str, datatype: str, shape: list[int], data: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def test_npz_with_sides_and_with_plain_names(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", input_ids=IDS, input_mask=MASK, output_scores=SCORES)
    save(tmp_path, "b.npz", ids=IDS, mask=MASK, scores=SCORES)
    first, second = read(tmp_path)
    assert (first.name, first.origin, second.name) == ("a", "golden/a.npz", "b")
    for case in (first, second):
        assert set(case.inputs) == {"ids", "mask"}
        assert set(case.outputs) == {"scores"}


def test_outputs_may_be_left_to_the_reference(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", ids=IDS, mask=MASK)
    assert read(tmp_path)[0].outputs == {}


def test_json_pairs(tmp_path: Path) -> None:
    ids = tensor("ids", "INT64", [1, 2], [[1, 2]])
    save_json(tmp_path, "a.request.json", {"inputs": [ids, tensor("mask", "BOOL", [1, 2], [True, False])]})
    save_json(tmp_path, "a.response.json", {"outputs": [tensor("scores", "FP32", [1, 2], [0, 0.5])]})
    (case,) = read(tmp_path)
    assert case.name == "a"
    assert case.inputs["ids"].tolist() == [[1, 2]]
    assert case.inputs["mask"].tolist() == [[True, False]]
    assert case.outputs["scores"].dtype == np.float32


def test_text_is_bytes_however_it_was_saved(tmp_path: Path) -> None:
    for name, array in (("a.npz", np.array(["é", ""])), ("b.npz", np.array(["é".encode(), b""]))):
        save(tmp_path, name, input_text=array)
    save_json(tmp_path, "c.request.json", {"inputs": [tensor("text", "BYTES", [2], ["é", ""])]})
    for case in read(tmp_path, TEXT):
        assert case.inputs["text"].tolist() == ["é".encode(), b""]


def test_a_name_on_both_sides_must_say_which(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", text=np.array(["x"]))
    assert "name it input:text or output:text" in refusal(tmp_path, TEXT)


def test_wrong_names_types_and_shapes_are_told_together(tmp_path: Path, golden: Golden) -> None:
    save(tmp_path, "a.npz", input_id=IDS, input_mask=MASK, output_scores=SCORES.astype(np.float64))
    save(tmp_path, "b.npz", ids=IDS, mask=np.ones((3, 6), np.bool_), scores=np.zeros((2, 3), np.float32))
    save(tmp_path, "c.npz", ids=np.zeros(3, np.int64), mask=MASK)
    save_json(tmp_path, "d.request.json", {"inputs": [tensor("ids", "INT64", [2, 2], [1, 2, 3])]})
    save_json(tmp_path, "e.response.json", {"outputs": []})
    (tmp_path / "model.onnx").touch()
    with pytest.raises(GoldenCasesInvalid) as caught:
        read_cases(list_model(tmp_path), ModelManifest(name="m"), SIGNATURE)
    golden("errors/wrong-golden-cases.txt", complaint(caught.value, tmp_path))


def test_sizes_outside_the_bounds_of_model_yaml(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", ids=IDS, mask=MASK)
    text = refusal(tmp_path, dims=(DimRange(name="length", min=1, opt=2, max=4),))
    assert "input 'ids' has 5 for the dim 'length', which model.yaml bounds to 1..4" in text


def test_paths_of_model_yaml(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", ids=IDS, mask=MASK)
    (tmp_path / "more").mkdir()
    np.savez(tmp_path / "more" / "b.npz", ids=IDS, mask=MASK)
    assert [case.name for case in read(tmp_path, golden=GoldenSettings(paths=("more/*.npz",)))] == ["b"]
    text = refusal(tmp_path, golden=GoldenSettings(paths=("cases/*.npz", "more/*.npz")))
    assert "golden.paths: cases/*.npz: no file of the directory matches" in text


def test_two_cases_of_one_name(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", ids=IDS, mask=MASK)
    ids, mask = tensor("ids", "INT64", [1, 1], [1]), tensor("mask", "BOOL", [1, 1], [True])
    save_json(tmp_path, "a.request.json", {"inputs": [ids, mask]})
    assert "a case of the same name" in refusal(tmp_path)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", ids=np.array([print], dtype=object), mask=MASK)
    assert "golden/a.npz: an array holds Python objects" in refusal(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip"])
def test_files_that_are_no_npz(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "a.npz").write_bytes(content)
    assert "golden/a.npz: it cannot be read as .npz" in refusal(tmp_path)


def test_a_truncated_npz(tmp_path: Path) -> None:
    save(tmp_path, "a.npz", ids=IDS, mask=MASK)
    path = tmp_path / "golden" / "a.npz"
    path.write_bytes(path.read_bytes()[:-30])
    assert "it cannot be read as .npz" in refusal(tmp_path)


def test_an_npz_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("builder.model.cases.MAX_CASE_BYTES", 1 << 20)
    (tmp_path / "golden").mkdir()
    with zipfile.ZipFile(tmp_path / "golden" / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ids.npy", bytes((1 << 20) + 1))
    assert "the cap for a golden case is" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("{", "it is not JSON"),
        ("[]", "it is not an object with 'inputs'"),
        ('{"inputs": {}}', "it is not a list of tensors"),
        ('{"inputs": [1]}', "a tensor has no name"),
        ({"inputs": [tensor("ids", "INT64", [1], [1])] * 2}, "tensor 'ids' stands there twice"),
        ({"inputs": [tensor("ids", "FLOAT", [1], [1])]}, "'FLOAT' is not a datatype"),
        ({"inputs": [tensor("ids", "FP16", [1], [1])]}, "FP16 has no JSON form"),
        ({"inputs": [tensor("ids", "INT64", [-1], [1])]}, "is not a list of sizes"),
        ({"inputs": [tensor("ids", "INT64", [1], [1.5])]}, "1.5 is not a value of INT64"),
        ({"inputs": [tensor("ids", "INT8", [1], [128])]}, "does not fit into INT8"),
        ({"inputs": [tensor("ids", "FP32", [1], [True])]}, "True is not a value of FP32"),
        ({"inputs": [tensor("ids", "BYTES", [1], [1])]}, "1 is not text"),
        ({"inputs": [tensor("ids", "INT64", [1], 1)]}, "its data is not a list"),
        ({"inputs": [{"name": "ids", "datatype": "INT64", "shape": [1]}]}, "it has no data"),
    ],
)
def test_json_that_breaks_the_protocol(tmp_path: Path, body: object, reason: str) -> None:
    save_json(tmp_path, "a.request.json", body)
    assert reason in refusal(tmp_path)


def test_a_case_in_the_image_reads_back_with_empty_text(tmp_path: Path) -> None:
    empty = np.empty((0,), dtype=np.object_)
    case = GoldenCase(name="a", inputs={"text": empty}, outputs={"text": np.array([b"x", b""], dtype=np.object_)})
    (tmp_path / "a.npz").write_bytes(write_case(case))
    back = read_case(tmp_path / "a.npz")
    assert back.inputs["text"].dtype.kind == "S"
    assert back.outputs["text"].tolist() == [b"x", b""]


def test_a_case_whose_outputs_make_it_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    case = GoldenCase(name="a", origin="golden/a.npz", inputs={"x": IDS}, outputs={"y": np.zeros(1000)})
    require_portable((case,))
    monkeypatch.setattr("builder.model.cases.MAX_CASE_BYTES", 8000)
    with pytest.raises(OversizedCase, match=r"golden/a\.npz has \d+ bytes with its outputs; the cap is 8000"):
        require_portable((case,))
