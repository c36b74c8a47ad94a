"""TensorFlow SavedModels to ONNX by tf2onnx: one signature, its inputs and outputs by their names there.

Of the signatures, model.yaml's is taken, else ``serving_default``, else the only one.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_quiet  # noqa: F401 - before TensorFlow, which reads what it sets

# isort: split
import tensorflow as tf
import tensorflow_common
from tensorflow.core.protobuf import saved_model_pb2, struct_pb2
from tensorflow.python.trackable.autotrackable import AutoTrackable
from worker_io import Arrays, Failure, main


def forgotten_slot(_: Any, var: Any, slot_name: str, **__: Any) -> Any:
    """Stands in for an optimizer whose class this TensorFlow does not know (files of 2022 and before): its slots are
    variables that only training reads."""
    return tf.Variable(tf.zeros_like(var), trainable=False, name=slot_name)


AutoTrackable.add_slot = forgotten_slot


@functools.cache
def load(path: str) -> Any:
    try:
        return tf.saved_model.load(str(Path(path).parent))
    except Exception as error:
        raise Failure("bad-model", tensorflow_common.words(error)) from error


def signature(request: dict[str, Any]) -> Any:
    """The function to serve."""
    found = {name: one for name, one in load(request["model"]).signatures.items() if not name.startswith("__")}
    names, wanted = ", ".join(sorted(found)), request["signature"]
    if not found:
        raise Failure("unsupported", "it has no signatures; save it with signatures=, or by model.export")
    chosen = found.get(wanted or "serving_default") or (next(iter(found.values())) if len(found) == 1 else None)
    if chosen is None or (wanted and wanted not in found):
        raise Failure("no-signature", f"{wanted or 'serving_default'} is none of its signatures: {names}")
    return chosen


def inputs_of(function: Any) -> dict[str, Any]:
    """The specifications by name, in the order in which the function's graph has them."""
    return dict(sorted(function.structured_input_signature[1].items()))


_NO_TENSORS = {
    struct_pb2.TypeSpecProto.RAGGED_TENSOR_SPEC: "ragged",
    struct_pb2.TypeSpecProto.SPARSE_TENSOR_SPEC: "sparse",
}


def require_plain(path: str, names: list[str]) -> None:
    """A signature has a ragged or sparse tensor as its parts, ``x`` and ``x_1``; the function behind it still knows."""
    parts = [name for name in names if f"{name}_1" in names]
    if parts and (kinds := sorted(set(_composites(path)))):
        told = f"the input {parts[0]} is {kinds[0]}, no plain tensor; save a function that takes padded rows"
        raise Failure("unsupported", told)


def _composites(path: str) -> Iterator[str]:
    model = saved_model_pb2.SavedModel.FromString(Path(path).read_bytes())
    functions = (known for graph in model.meta_graphs for known in graph.object_graph_def.concrete_functions.values())
    waiting = [function.canonicalized_input_signature for function in functions]
    while waiting:
        value = waiting.pop()
        if value.type_spec_value.type_spec_class in _NO_TENSORS:
            yield _NO_TENSORS[value.type_spec_value.type_spec_class]
        waiting += [*value.list_value.values, *value.tuple_value.values, *value.dict_value.fields.values()]


def convert(request: dict[str, Any]) -> dict[str, Any]:
    function = signature(request)
    inputs = inputs_of(function)
    require_plain(request["model"], list(inputs))
    for name, spec in inputs.items():
        if not isinstance(spec, tf.TensorSpec):
            raise Failure("unsupported", f"the input {name} is a {type(spec).__name__}, no plain tensor")
        tensorflow_common.require_numbers(name, spec.dtype)
    outputs = tensorflow_common.public(sorted(function.structured_outputs), list(inputs))
    model = tensorflow_common.exported(function, list(inputs), outputs)
    shapes = {name: None if spec.shape.rank is None else spec.shape.as_list() for name, spec in inputs.items()}
    tensorflow_common.write(model, shapes, outputs, request)
    return {"inputs": list(inputs), "outputs": outputs}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    function = signature(request)
    tensorflow_common.require_defined(request, inputs)
    order = sorted(function.structured_outputs)
    try:
        given = {name: tf.constant(inputs[name], spec.dtype) for name, spec in inputs_of(function).items()}
        made = function(**given)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise Failure("wrong-inputs", tensorflow_common.words(error)) from error
    names = tensorflow_common.public(order, list(given))
    return {name: made[own].numpy() for name, own in zip(names, order, strict=True)}


if __name__ == "__main__":
    main(convert, answer, tensorflow_common.PACKAGES)
