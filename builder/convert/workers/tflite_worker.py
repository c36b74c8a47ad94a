"""TensorFlow Lite files to ONNX by tf2onnx; what they compute is said by tf.lite's interpreter.

Inputs and outputs have the names of the signature where the file has one, else those of its tensors; quantised ones
stay as they are (INT8, UINT8).
"""

import functools
from typing import Any

import numpy as np
import tensorflow_quiet  # noqa: F401 - before TensorFlow, which reads what it sets

# isort: split
import tensorflow as tf
import tensorflow_common
import tf2onnx
from worker_io import Arrays, Failure, main


@functools.cache
def load(path: str) -> Any:
    try:
        interpreter = tf.lite.Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        return interpreter
    except (ValueError, RuntimeError) as error:
        raise Failure("bad-model", tensorflow_common.words(error)) from error


def named(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Inputs and outputs by the names that clients see."""
    signatures = interpreter.get_signature_list()
    sides = (interpreter.get_input_details(), interpreter.get_output_details())
    inputs, outputs = ({tensor["name"].removesuffix(":0"): tensor for tensor in side} for side in sides)
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        given, made = runner.get_input_details(), runner.get_output_details()
        if (len(given), len(made)) == (len(inputs), len(outputs)):  # else one tensor has two names
            inputs, outputs = given, made
    names = tensorflow_common.public(list(outputs), list(inputs))
    return inputs, dict(zip(names, outputs.values(), strict=True))


def convert(request: dict[str, Any]) -> dict[str, Any]:
    inputs, outputs = named(load(request["model"]))
    for name, tensor in inputs.items():
        if tensor["dtype"] in (np.str_, np.bytes_, np.object_):
            tensorflow_common.require_numbers(name, tf.string)
    try:
        with tensorflow_common.silent():
            model, _ = tf2onnx.convert.from_tflite(request["model"], opset=tensorflow_common.OPSET)
    except Exception as error:
        raise Failure("unsupported", tensorflow_common.words(error)) from error
    rename(model.graph, {tensor["name"]: name for name, tensor in (*inputs.items(), *outputs.items())})
    shapes = {
        name: [None if size < 0 else int(size) for size in tensor["shape_signature"]] for name, tensor in inputs.items()
    }
    tensorflow_common.write(model, shapes, list(outputs), request)
    return {"inputs": list(inputs), "outputs": list(outputs)}


def rename(graph: Any, names: dict[str, str]) -> None:
    """In the graph and in those inside it, which see its tensors."""
    for tensor in (*graph.input, *graph.output):
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                rename(attribute.g, names)


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    interpreter = load(request["model"])
    given, made = named(interpreter)
    tensorflow_common.require_defined(request, inputs)
    try:
        for name, tensor in given.items():
            interpreter.resize_tensor_input(tensor["index"], inputs[name].shape, strict=True)
        interpreter.allocate_tensors()
        for name, tensor in given.items():
            interpreter.set_tensor(tensor["index"], inputs[name])
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise Failure("wrong-inputs", tensorflow_common.words(error)) from error
    return {name: interpreter.get_tensor(tensor["index"]).copy() for name, tensor in made.items()}


if __name__ == "__main__":
    main(convert, answer, tensorflow_common.PACKAGES)
