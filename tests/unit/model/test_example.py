"""Example inputs: what they say of a model that says nothing, and how they become a golden case."""

from __future__ import annotations

import io
import json
import struct
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builder.model.example import (
    ExampleDisagrees,
    ExampleUnreadable,
    SeveralExamples,
    describe,
    example_case,
    plain_example_case,
    read_example,
)
from builder.model.golden import GoldenCase
from builder.model.manifest import ModelManifest, Renames
from builder.model.signature import Datatype, Dim, Signature, TensorSpec
from builder.model.source import list_model

Specs = list[tuple[str, str, tuple[Dim, ...]]]


def described(directory: Path, *arguments: str) -> Specs:
    example = read_example(list_model(directory))
    assert example is not None
    return [(spec.name, spec.datatype.value, spec.shape) for spec in describe(example, arguments)]


def case(directory: Path, *inputs: tuple[str, str, tuple[Dim, ...]], outputs: tuple[str, ...] = ()) -> GoldenCase:
    example = read_example(list_model(directory))
    assert example is not None
    signature = Signature(
        inputs=tuple(TensorSpec(name=n, datatype=Datatype(d), shape=s) for n, d, s in inputs),
        outputs=tuple(TensorSpec(name=name, datatype=Datatype.FP32, shape=("batch",)) for name in outputs),
    )
    return example_case(example, signature, ModelManifest(name="m", renames=Renames(inputs=(("old", "new"),))))


def save_image(directory: Path, name: str = "example.png", mode: str = "RGB") -> np.ndarray[Any, Any]:
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    Image.fromarray(pixels).convert(mode).save(directory / name)
    return pixels


def save_sound(directory: Path, width: int, frames: bytes, channels: int = 1) -> None:
    with wave.open(str(directory / "example.wav"), "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(16000)
        sound.writeframes(frames)


def save_json(directory: Path, value: object) -> None:
    (directory / "example.json").write_text(json.dumps(value))


def test_no_example(tmp_path: Path) -> None:
    (tmp_path / "model.pt").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "example.npz").touch()
    assert read_example(list_model(tmp_path)) is None


def test_two_examples_are_one_too_many(tmp_path: Path) -> None:
    save_image(tmp_path)
    save_image(tmp_path, "example.jpg")
    with pytest.raises(SeveralExamples, match=r"example\.jpg, example\.png"):
        read_example(list_model(tmp_path))


def test_arrays_share_the_batch(tmp_path: Path) -> None:
    arrays = {"ids": np.zeros((3, 5), np.int64), "input:mask": np.ones((3, 5), np.bool_)}
    np.savez(tmp_path / "example.npz", **arrays, **{"output:scores": np.zeros(3, np.float32)})
    assert described(tmp_path) == [("mask", "BOOL", ("batch", 5)), ("ids", "INT64", ("batch", 5))]
    assert [name for name, *_ in described(tmp_path, "ids", "mask")] == ["ids", "mask"]
    made = case(tmp_path, ("ids", "INT64", ("n", "m")), ("mask", "BOOL", ("n", "m")), outputs=("scores",))
    assert (made.name, made.origin, set(made.outputs)) == ("example", "example.npz", {"scores"})


def test_a_vector_beside_a_batch_is_fixed(tmp_path: Path) -> None:
    np.savez(tmp_path / "example.npz", ids=np.zeros((2, 5), np.int64), scale=np.ones(1, np.float32))
    assert described(tmp_path, "ids", "scale") == [("ids", "INT64", ("batch", 5)), ("scale", "FP32", (1,))]


def test_nothing_in_common_is_no_batch(tmp_path: Path) -> None:
    np.savez(tmp_path / "example.npz", a=np.zeros((2, 5), np.int64), b=np.zeros((3, 5), np.int64))
    assert [shape for _, _, shape in described(tmp_path)] == [(2, 5), (3, 5)]


def test_an_image(tmp_path: Path) -> None:
    pixels = save_image(tmp_path)
    assert described(tmp_path, "x") == [("x", "FP32", ("batch", 3, 4, 6))]
    assert described(tmp_path) == [("image", "FP32", ("batch", 3, 4, 6))]
    floats = case(tmp_path, ("x", "FP32", ("n", 3, 4, 6))).inputs["x"]
    assert (floats.dtype, floats.shape) == (np.float32, (1, 3, 4, 6))
    assert floats.max() == np.float32(71 / 255)
    as_is = case(tmp_path, ("x", "UINT8", ("n", "h", "w", 3))).inputs["x"]
    assert np.array_equal(as_is, pixels[np.newaxis])
    assert case(tmp_path, ("x", "FP32", ("n", 1, 4, 6))).inputs["x"].shape == (1, 1, 4, 6)
    assert case(tmp_path, ("x", "FP32", (3, 4, 6))).inputs["x"].shape == (3, 4, 6)
    whole = case(tmp_path, ("x", "BYTES", ("batch",))).inputs["x"]
    assert whole.tolist() == [(tmp_path / "example.png").read_bytes()]


def test_grey_stays_grey(tmp_path: Path) -> None:
    save_image(tmp_path, mode="L")
    with Image.open(tmp_path / "example.png") as image:
        expected = np.asarray(image)
    assert np.array_equal(case(tmp_path, ("x", "UINT8", ("n", 1, 4, 6))).inputs["x"][0, 0], expected)


def test_a_jpeg_with_another_name(tmp_path: Path) -> None:
    save_image(tmp_path, "example.jpeg")
    assert described(tmp_path) == [("image", "FP32", ("batch", 3, 4, 6))]


def test_an_image_of_another_size_is_named_with_both(tmp_path: Path) -> None:
    save_image(tmp_path)
    with pytest.raises(ExampleDisagrees, match=r"has the shape \[1, 3, 4, 6\], the model has \[n, 3, 8, 8\]") as caught:
        case(tmp_path, ("x", "FP32", ("n", 3, 8, 8)))
    assert "x FP32 [n, 3, 8, 8]" in caught.value.advice
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("width", "frames", "expected"),
    [
        (1, bytes([0, 128, 255]), [-1, 0, 127 / 128]),
        (2, struct.pack("<3h", -32768, 0, 16384), [-1, 0, 0.5]),
        (3, b"\x00\x00\x80" + b"\x00\x00\x00" + b"\x00\x00\x40", [-1, 0, 0.5]),
        (4, struct.pack("<3i", -(2**31), 0, 2**30), [-1, 0, 0.5]),
    ],
)
def test_sound(tmp_path: Path, width: int, frames: bytes, expected: list[float]) -> None:
    save_sound(tmp_path, width, frames)
    assert described(tmp_path) == [("samples", "FP32", ("batch", 3))]
    assert case(tmp_path, ("wave", "FP32", ("n", "t"))).inputs["wave"].tolist() == [expected]
    assert case(tmp_path, ("wave", "FP32", ("t",))).inputs["wave"].tolist() == expected


def test_two_channels_are_one(tmp_path: Path) -> None:
    save_sound(tmp_path, 2, struct.pack("<4h", 16384, 0, -16384, -16384), channels=2)
    assert case(tmp_path, ("wave", "FP32", ("n", "t"))).inputs["wave"].tolist() == [[0.25, -0.5]]


def test_text(tmp_path: Path) -> None:
    (tmp_path / "example.txt").write_text("Grüße\nzwei\n", encoding="utf-8")
    assert described(tmp_path) == [("text", "BYTES", ("batch",))]
    assert case(tmp_path, ("t", "BYTES", ("n",))).inputs["t"].tolist() == ["Grüße".encode(), b"zwei"]
    assert case(tmp_path, ("t", "BYTES", ("n", 1))).inputs["t"].shape == (2, 1)


def test_json_of_the_protocol_is_exact(tmp_path: Path) -> None:
    save_json(tmp_path, {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]})
    assert described(tmp_path) == [("x", "FP64", ("batch", 2))]
    with pytest.raises(ExampleDisagrees, match=r"is FP64, the model has FP32; save it with \.astype\(np\.float32\)"):
        case(tmp_path, ("x", "FP32", ("n", 2)))


def test_json_by_name(tmp_path: Path) -> None:
    save_json(tmp_path, {"age": [31, 42], "income": [1.5, None], "city": ["Oslo", "Rome"]})
    wanted: Specs = [("age", "INT64", ("batch",)), ("income", "FP32", ("batch",)), ("city", "BYTES", ("batch",))]
    assert described(tmp_path) == wanted
    made = case(tmp_path, ("age", "FP64", ("n", 1)), ("income", "FP32", ("n", 1)), ("city", "BYTES", ("n", 1)))
    assert made.inputs["age"].tolist() == [[31.0], [42.0]]
    assert np.isnan(made.inputs["income"][1, 0])
    assert made.inputs["city"].shape == (2, 1)


@pytest.mark.parametrize(
    "value",
    [
        {"columns": ["age", "city"], "data": [[31, "Oslo"], [42, "Rome"]]},
        {"dataframe_split": {"columns": ["age", "city"], "data": [[31, "Oslo"], [42, "Rome"]]}},
        {"inputs": {"age": [[31], [42]], "city": [["Oslo"], ["Rome"]]}},
    ],
)
def test_json_tables(tmp_path: Path, value: object) -> None:
    save_json(tmp_path, value)
    assert described(tmp_path) == [("age", "INT64", ("batch", 1)), ("city", "BYTES", ("batch", 1))]


def test_json_lists_are_the_only_input(tmp_path: Path) -> None:
    save_json(tmp_path, [1, 2, 3])
    assert case(tmp_path, ("x", "FP32", ("n", 3))).inputs["x"].tolist() == [[1, 2, 3]]


def test_json_is_not_bent(tmp_path: Path) -> None:
    save_json(tmp_path, [[1.5, 2.0]])
    with pytest.raises(ExampleDisagrees, match="is FP64, the model has INT64"):
        case(tmp_path, ("x", "INT64", ("n", 2)))
    save_json(tmp_path, [[300]])
    with pytest.raises(ExampleDisagrees, match="is INT64, the model has UINT8"):
        case(tmp_path, ("x", "UINT8", ("n", 1)))


def test_names_of_the_graph_are_known_too(tmp_path: Path) -> None:
    save_json(tmp_path, {"old": [1.0], "other": [2.0]})
    assert set(case(tmp_path, ("new", "FP32", ("n",)), ("other", "FP32", ("n",))).inputs) == {"new", "other"}


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    save_json(tmp_path, {"a": [1.0]})
    with pytest.raises(ExampleDisagrees, match="input 'b' is missing"):
        case(tmp_path, ("a", "FP32", ("n",)), ("b", "FP32", ("n",)))


class Canary:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("canary"),)


def pickled_npz() -> bytes:
    content = io.BytesIO()
    np.savez(content, x=np.array([Canary()], dtype=object))
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("example.npz", pickled_npz(), "holds Python objects"),
        ("example.npz", b"PK\x03\x04 no zip", "cannot be read as .npz"),
        ("example.png", b"\x89PNG\r\n\x1a\n broken", "no PNG or JPEG image"),
        ("example.jpg", b"GIF89a\x01\x00\x01\x00", "no PNG or JPEG image"),
        ("example.wav", b"RIFF", "no WAV file"),
        ("example.txt", b"\xff\xfe\x00", "not UTF-8"),
        ("example.txt", b"\n", "it is empty"),
        ("example.json", b"{", "it is not JSON"),
        ("example.json", b"[[1], [1, 2]]", "rows of different lengths"),
        ("example.json", b'[1, "a", {}]', "mixes numbers and text"),
        ("example.json", b'[1, "a"]', "mixes numbers and text"),
        ("example.json", b"[" * 5000, "it is not JSON"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExampleUnreadable, match=told):
        read_example(list_model(tmp_path))
    assert not Path("canary").exists()


def test_a_type_that_no_request_has(tmp_path: Path) -> None:
    np.savez(tmp_path / "example.npz", x=np.zeros(2, np.complex64))
    with pytest.raises(ExampleUnreadable, match="'x' has the type complex64"):
        described(tmp_path)


def tensor(name: str, datatype: Datatype, *shape: Dim) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


PLAIN = Signature(
    inputs=(tensor("content", Datatype.BYTES, "batch"),), outputs=(tensor("label", Datatype.BYTES, "batch"),)
)


def plain_case(directory: Path, signature: Signature = PLAIN) -> GoldenCase | None:
    example = read_example(list_model(directory))
    assert example is not None
    return plain_example_case(example, signature, ModelManifest(name="m"))


def test_an_image_file_is_what_a_plain_model_takes_as_it_is(tmp_path: Path) -> None:
    save_image(tmp_path)
    found = plain_case(tmp_path)
    assert found is not None
    assert found.inputs["content"].tolist() == [(tmp_path / "example.png").read_bytes()]


def test_lines_of_text_are_a_batch_for_a_plain_model(tmp_path: Path) -> None:
    (tmp_path / "example.txt").write_text("one\nGrüße\n")
    found = plain_case(tmp_path)
    assert found is not None
    assert found.inputs["content"].tolist() == [b"one", "Grüße".encode()]


def test_tensors_are_no_example_of_a_plain_model(tmp_path: Path) -> None:
    np.savez(tmp_path / "example.npz", input_ids=np.ones((1, 3), np.int64))
    assert plain_case(tmp_path) is None
    np.savez(tmp_path / "example.npz", content=np.array([b"text"]))
    assert plain_case(tmp_path) is not None
