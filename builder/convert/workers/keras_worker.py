"""Keras models (.keras, .h5) to ONNX: loaded by the Keras that wrote them, on TensorFlow, and converted by tf2onnx.

Files of Keras 3 are loaded by Keras 3, those of Keras 2 (or of no version) by tf-keras, uncompiled and in safe mode
unless the user allowed code. Inputs and outputs have the names that the model gives them.
"""

import functools
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow_quiet  # noqa: F401 - before TensorFlow, which reads what it sets

# isort: split
import h5py
import keras
import tensorflow as tf
import tensorflow_common
import tf_keras
from tf_keras.src.saving.serialization_lib import SafeModeScope
from worker_io import Arrays, Failure, main


def version_of(path: str) -> str:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json")).get("keras_version", "3"))
    with h5py.File(path, "r") as file:
        version = file.attrs.get("keras_version", "2")
    return version.decode() if isinstance(version, bytes) else str(version)


@functools.cache
def load(path: str, allow_code: bool) -> Any:
    """The model; a link gives it the suffix that Keras goes by."""
    try:
        is_new = int(version_of(path).partition(".")[0]) >= 3
        with tempfile.TemporaryDirectory() as directory, SafeModeScope(not allow_code):
            link = Path(directory) / ("model.keras" if zipfile.is_zipfile(path) else "model.h5")
            link.symlink_to(path)
            loader = keras.saving.load_model if is_new else tf_keras.models.load_model
            return loader(str(link), compile=False, safe_mode=not allow_code)
    except Exception as error:
        told = tensorflow_common.words(error)
        kind = "unsupported" if re.search("Unknown layer|Could not locate|Unrecognized|custom", told) else "bad-model"
        raise Failure(kind, told) from error


def model_of(request: dict[str, Any]) -> Any:
    model = load(request["model"], request["allow_code"])
    if not getattr(model, "inputs", None):
        told = "it does not say what it takes: give it an Input layer, or call it once before it is saved"
        raise Failure("unsupported", told)
    layers = model._flatten_layers(include_self=False)
    keeping = [layer.name for layer in layers if getattr(layer, "stateful", False) is True]
    if keeping:
        raise Failure("unsupported", f"the layer {keeping[0]} keeps state between calls (stateful=True)")
    return model


def structure_of(model: Any) -> Any:
    """How the inputs are given: a tensor, or lists and dicts of them."""
    names = ("_inputs_struct", "_nested_inputs")  # of Keras 3 and of Keras 2
    return next((getattr(model, name) for name in names if hasattr(model, name)), model.inputs[0])


def names_of(model: Any) -> list[str]:
    """Of the inputs: the keys of a dict, else their own."""
    structure, tensors = structure_of(model), tf.nest.flatten(structure_of(model))
    is_flat = isinstance(structure, Mapping) and len(structure) == len(tensors)
    return sorted(structure) if is_flat else [tensor.name.partition(":")[0] for tensor in tensors]


def called(model: Any, tensors: list[Any]) -> dict[str, Any]:
    """The outputs by name: of a dict its keys, else the names of the layers that give them."""
    made = model(tf.nest.pack_sequence_as(structure_of(model), tensors), training=False)
    flat = tf.nest.flatten(made)
    is_flat = isinstance(made, Mapping) and len(made) == len(flat)
    names = sorted(made) if is_flat else getattr(model, "output_names", None) or [model.layers[-1].name]
    return dict(zip(tensorflow_common.public(names, names_of(model)), flat, strict=True))


def specs_of(model: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, tensor in zip(names_of(model), tf.nest.flatten(structure_of(model)), strict=True):
        if getattr(tensor, "sparse", False) or getattr(tensor, "ragged", False):
            raise Failure("unsupported", f"the input {name} is sparse or ragged, no plain tensor")
        tensorflow_common.require_numbers(name, tensor.dtype)
        found[name] = tf.TensorSpec(tensor.shape, tensor.dtype, name=f"input_{len(found)}")
    return found


def convert(request: dict[str, Any]) -> dict[str, Any]:
    model = model_of(request)
    specs = specs_of(model)
    try:
        function = tf.function(lambda *tensors: called(model, list(tensors))).get_concrete_function(*specs.values())
    except Exception as error:
        raise Failure("unsupported", tensorflow_common.words(error)) from error
    outputs = sorted(function.structured_outputs)
    proto = tensorflow_common.exported(function, list(specs), outputs)
    shapes = {name: spec.shape.as_list() for name, spec in specs.items()}
    tensorflow_common.write(proto, shapes, outputs, request)
    return {"inputs": list(specs), "outputs": outputs}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    model = model_of(request)
    tensorflow_common.require_defined(request, inputs)
    try:
        given = [tf.constant(inputs[name], spec.dtype) for name, spec in specs_of(model).items()]
        return {name: tensor.numpy() for name, tensor in called(model, given).items()}
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise Failure("wrong-inputs", tensorflow_common.words(error)) from error


if __name__ == "__main__":
    main(convert, answer, ("keras", "tf-keras", *tensorflow_common.PACKAGES))
