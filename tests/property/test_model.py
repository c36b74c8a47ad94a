"""Whatever the bytes are: a description or an error of ours, never another exception; and round trips."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from builder.errors import SpecError, UnsupportedModel
from builder.model.face import Face, FaceGpu, FaceModel, FaceParity, MalformedFace
from builder.model.golden import GoldenCase, Tolerance, read_case, write_case
from builder.model.manifest import parse_manifest, slug
from builder.model.parity import compare
from builder.model.protocol import TensorProblem, decode_body, decode_tensor, encode_tensor
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.oci.reference import Reference
from tests.support import onnx_models
from tests.support.faces import FACE
from tests.support.models import read_directory

MODEL = onnx_models.mlp().SerializeToString(deterministic=True)
NUMERIC = [np.dtype(name) for name in ("bool", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8")]

arrays = st.sampled_from(NUMERIC).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements=hnp.from_dtype(dtype, allow_nan=False, allow_infinity=False),
    )
)
floats = hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=4))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
keys = ["name", "version", "licence", "renames", "dims", "tolerance", "golden", "server", "labels", "file", "format"]


def described(content: bytes) -> bool:
    with TemporaryDirectory() as directory:
        (Path(directory) / "model.onnx").write_bytes(content)
        try:
            return bool(read_directory(Path(directory)).signature.outputs)
        except UnsupportedModel:
            return False


@given(st.integers(0, len(MODEL) - 1))
@settings(max_examples=200, deadline=None)
def test_a_model_cut_anywhere_is_refused(length: int) -> None:
    assert not described(MODEL[:length])


@given(st.integers(0, len(MODEL) - 1), st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_model_with_a_wrong_byte_is_described_or_refused(place: int, byte: int) -> None:
    described(MODEL[:place] + bytes([byte]) + MODEL[place + 1 :])


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_no_model(content: bytes) -> None:
    assert not described(content)


@given(st.dictionaries(st.sampled_from(keys), values, max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_mapping_is_a_manifest_or_a_spec_error(value: dict[str, Any]) -> None:
    try:
        parse_manifest(yaml.safe_dump(value, allow_unicode=True).encode(), PurePosixPath("model.yaml"), "d")
    except SpecError as error:
        assert error.advice


@given(st.binary(max_size=100))
def test_any_bytes_are_a_manifest_or_a_spec_error(content: bytes) -> None:
    try:
        parse_manifest(content, PurePosixPath("model.yaml"), "d")
    except SpecError as error:
        assert error.advice


@given(st.text(max_size=200))
def test_a_slug_is_a_legal_repository(text: str) -> None:
    Reference.parse(f"localhost:5000/{slug(text)}:1")


@given(arrays)
def test_json_tensors_round_trip(array: np.ndarray) -> None:
    back = decode_tensor(encode_tensor("x", array))
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array, strict=True)


@given(st.lists(st.text(), max_size=4))
def test_text_tensors_round_trip(items: list[str]) -> None:
    array = np.empty(len(items), dtype=np.object_)
    array[:] = [item.encode() for item in items]
    entry = encode_tensor("x", array)
    assert entry["datatype"] == Datatype.BYTES
    np.testing.assert_array_equal(decode_tensor(entry), array, strict=True)


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_any_body_is_tensors_or_a_problem(content: bytes) -> None:
    with suppress(TensorProblem):
        decode_body(content, "inputs")


@given(arrays, arrays)
def test_cases_round_trip_and_their_bytes_are_theirs(inputs: np.ndarray, outputs: np.ndarray) -> None:
    case = GoldenCase(name="case", inputs={"a/b:0": inputs}, outputs={"y": outputs})
    with TemporaryDirectory() as directory:
        path = Path(directory) / "case.npz"
        path.write_bytes(write_case(case))
        back = read_case(path)
    np.testing.assert_array_equal(back.inputs["a/b:0"], inputs, strict=True)
    np.testing.assert_array_equal(back.outputs["y"], outputs, strict=True)
    assert write_case(back) == write_case(case)


@given(floats, st.floats(0, 10), st.floats(0, 10))
def test_an_array_is_always_equal_to_itself(array: np.ndarray, absolute: float, relative: float) -> None:
    result = compare("y", array, array.copy(), Tolerance(absolute=absolute, relative=relative))
    assert result.passed
    assert result.max_absolute == 0


@given(st.data(), st.floats(0, 10), st.floats(0, 1))
def test_the_verdict_is_the_formula(data: st.DataObject, absolute: float, relative: float) -> None:
    numbers = st.floats(-1e6, 1e6, allow_nan=False)
    expected = data.draw(st.lists(numbers, min_size=1, max_size=6))
    actual = data.draw(st.lists(numbers, min_size=len(expected), max_size=len(expected)))
    result = compare("y", np.array(expected), np.array(actual), Tolerance(absolute=absolute, relative=relative))
    out = [abs(a - e) > absolute + relative * abs(e) for e, a in zip(expected, actual, strict=True)]
    assert result.passed is not any(out)
    assert result.failing == sum(out)
    assert math.isclose(result.max_absolute, max(abs(a - e) for e, a in zip(expected, actual, strict=True)))


names = st.text(min_size=1, max_size=12)
versions = st.dictionaries(names, st.text(max_size=8), max_size=3)
tensors = st.builds(
    TensorSpec,
    name=names,
    datatype=st.sampled_from(Datatype),
    shape=st.lists(st.integers(0, 2**40) | st.text(max_size=4), max_size=4).map(tuple),
)
sides = st.lists(tensors, max_size=3).map(tuple)
face_models = st.builds(
    FaceModel,
    name=names,
    version=st.text(max_size=8),
    format=st.text(max_size=8),
    signature=st.builds(Signature, inputs=sides, outputs=sides),
    parity=st.builds(
        FaceParity,
        cases=st.integers(0, 99),
        edges=st.integers(0, 99),
        absolute=st.floats(0, 1e9),
        relative=st.floats(0, 1e9),
    ),
    quantized=st.text(max_size=8),
    frameworks=versions,
)
words = st.from_regex(r"[a-z0-9.]{1,6}", fullmatch=True)
gpus = st.builds(
    FaceGpu,
    cuda=words,
    driver=words,
    capabilities=st.lists(words, max_size=3).map(tuple),
    ptx=words | st.just(""),
    parts=st.lists(words, max_size=3).map(tuple),
)
faces = st.builds(
    replace,
    st.just(FACE),
    name=names,
    version=st.text(max_size=8),
    description=st.text(max_size=30),
    models=st.lists(face_models, min_size=1, max_size=3, unique_by=lambda one: one.name).map(tuple),
    ports=st.lists(st.integers(1, 65535), max_size=2).map(tuple),
    wheels=versions,
    gpu=st.none() | gpus,
)


@given(faces)
@settings(max_examples=100, deadline=None)
def test_a_face_comes_back_from_its_labels(face: Face) -> None:
    labels = face.to_labels()
    assert Face.from_labels(labels, platform=face.platform, ports=face.ports) == face
    assert Face.from_json(face.to_json()) == face


@given(values, st.sampled_from([key for key in FACE.to_labels() if key != "dev.mbuild.face"]))
@settings(max_examples=100, deadline=None)
def test_whatever_a_label_says_gives_a_face_or_an_error(value: object, label: str) -> None:
    labels = {**FACE.to_labels(), label: json.dumps(value)}
    with suppress(MalformedFace):
        Face.from_labels(labels, platform=FACE.platform, ports=FACE.ports)
