from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from builder.formats.mlmodel import MlModel, MlmodelInvalid, parse_mlmodel
from builder.model.signature import Datatype, TensorSpec

PATH = PurePosixPath("model/MLmodel")
FLAVOURS = "flavors:\n  sklearn:\n    pickled_model: model.pkl\n"


def parsed(more: str) -> MlModel:
    return parse_mlmodel((FLAVOURS + more).encode(), PATH)


def test_columns_and_their_types() -> None:
    model = parsed(
        """signature:
  inputs: '[{"type": "double", "name": "a"}, {"type": "string", "name": "b"}, {"type": "long", "name": "c"},
    {"type": "boolean", "name": "d"}, {"type": "integer", "name": "e"}, {"type": "datetime", "name": "f"}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: null
"""
    )
    kinds = [Datatype.FP64, Datatype.BYTES, Datatype.INT64, Datatype.BOOL, Datatype.INT32, None]
    assert model.columns == tuple(zip("abcdef", kinds, strict=True))
    assert (model.tensors, model.outputs, model.example) == ((), (), None)


def test_tensors_with_names_for_dynamic_dims() -> None:
    model = parsed(
        """signature:
  inputs: '[{"name": "image", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 3, -1, 8]}},
    {"name": "text", "type": "tensor", "tensor-spec": {"dtype": "str", "shape": [-1]}}]'
  outputs: '[{"name": "p", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]'
"""
    )
    assert model.tensors == (
        TensorSpec(name="image", datatype=Datatype.FP32, shape=("batch", 3, "image_2", 8)),
        TensorSpec(name="text", datatype=Datatype.BYTES, shape=("batch",)),
    )
    assert model.outputs == ("p",)


def test_one_without_a_signature_and_one_with_an_example() -> None:
    assert parsed("") == parsed("signature: null\nsaved_input_example_info: null\n")
    assert parsed("saved_input_example_info: {artifact_path: e.json, type: ndarray}\n").example == PurePosixPath(
        "e.json"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("flavors: [", "YAML"),
        ("run_id: a\n", "flavors: it is missing"),
        ("flavors: sklearn\n", "flavors: it is 'sklearn', not a mapping"),
        ("flavors: {sklearn: 1.9}\n", r"flavors\.sklearn: it is 1\.9"),
        ("flavors: {}\nsignature: {inputs: [a]}\n", r"signature\.inputs: it is \['a'\], not text"),
        ("flavors: {}\nsignature: {inputs: '[{'}\n", r"signature\.inputs: it is no JSON"),
        ("flavors: {}\nsignature: {inputs: '[1]'}\n", r"signature\.inputs: it is not a list of objects"),
        (
            """flavors: {}\nsignature:\n  inputs: '[{"type":"tensor","tensor-spec": {"dtype": "c8", "shape": []}}]'""",
            r"signature\.inputs: tensor '': no tensor has the dtype c8",
        ),
        (
            """flavors: {}\nsignature: {inputs: '[{"type": "tensor", "name": "x"}]'}\n""",
            "tensor 'x': tensor-spec is None",
        ),
        (
            """flavors: {}\nsignature: {inputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int8"}}]'}\n""",
            "'shape' is missing",
        ),
        ("flavors: {}\nsaved_input_example_info: here\n", "saved_input_example_info: it is 'here', not a mapping"),
        (
            "flavors: {}\nsaved_input_example_info: {type: ndarray}\n",
            r"saved_input_example_info\.artifact_path: it is missing",
        ),
        ("flavors: {}\nsaved_input_example_info: {artifact_path: 1}\n", "artifact_path: it is 1, not text"),
    ],
)
def test_what_is_broken_is_named_by_its_field(content: str, words: str) -> None:
    with pytest.raises(MlmodelInvalid, match=words) as caught:
        parse_mlmodel(content.encode(), PATH)
    assert str(caught.value).startswith("model/MLmodel: ")
    assert caught.value.exit_code == 4
