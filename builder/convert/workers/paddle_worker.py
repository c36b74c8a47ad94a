"""Inference models of PaddlePaddle to ONNX by paddle2onnx; what they compute is said by Paddle's own predictor.

Inputs have the names of the program; outputs, whose names there are made up, are ``output``, or ``output_0``,
``output_1`` and so on.
"""

import functools
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_canonical
import onnx_output
import paddle
import paddle.inference
from paddle2onnx.convert import c_p2o, load_parameter, save_program
from worker_io import Arrays, Failure, main

OPSET = 17
"""A graph that needs a newer one gets it from paddle2onnx."""


@functools.cache
def load(path: str) -> Any:
    """On one thread, the program as it is: no passes, no kernels of oneDNN."""
    config = paddle.inference.Config(path, parameters_of(path))
    config.disable_gpu()
    config.disable_mkldnn()
    config.switch_ir_optim(False)
    config.set_cpu_math_library_num_threads(1)
    config.disable_glog_info()
    try:
        return paddle.inference.create_predictor(config)
    except Exception as error:
        raise Failure("bad-model", words(error)) from error


def parameters_of(path: str) -> str:
    """Empty for a program without parameters."""
    file = Path(path).with_suffix(".pdiparams")
    return str(file) if file.exists() else ""


def public_outputs(predictor: Any) -> dict[str, str]:
    """From the program's names to those that clients see."""
    own, inputs = predictor.get_output_names(), predictor.get_input_names()
    public = ["output"] if len(own) == 1 else [f"output_{number}" for number in range(len(own))]
    return {name: f"{new}_of_model" if new in inputs else new for name, new in zip(own, public, strict=True)}


def convert(request: dict[str, Any]) -> dict[str, Any]:
    predictor = load(request["model"])
    with tempfile.TemporaryDirectory() as scratch:
        program, parameters = as_pir(request["model"], Path(scratch))
        model = exported(program, parameters)
    inputs, outputs = list(predictor.get_input_names()), list(public_outputs(predictor).values())
    graph = model.graph
    if {tensor.name for tensor in graph.input} != {*inputs} or len(graph.output) != len(outputs):
        raise Failure("unsupported", "paddle2onnx wrote a graph with other inputs and outputs than the program has")
    as_initializers(graph)
    # By their order: a program that was renewed has other names for them.
    name_tensors(graph, {tensor.name: name for tensor, name in zip(graph.output, outputs, strict=True)})
    name_dims(graph, {tensor["name"]: tensor["shape"] for tensor in request["inputs"]})
    onnx_canonical.canonical(model)
    onnx_output.write_model(model, request["output"], "mbuild-paddle")
    return {"inputs": inputs, "outputs": outputs}


def as_pir(path: str, scratch: Path) -> tuple[str, str]:
    """Program and parameters as Paddle 3 writes them, which is all that paddle2onnx 2 reads."""
    if not path.endswith(".pdmodel"):
        return path, parameters_of(path)
    new = scratch / "program"
    try:
        with paddle.pir_utils.OldIrGuard():
            executor = paddle.static.Executor(paddle.CPUPlace())
            old, _, _ = paddle.static.load_inference_model(path.removesuffix(".pdmodel"), executor)
            program = paddle.pir.translate_to_pir(old.desc)
        load_parameter(program)
        save_program(program, str(new))
    except Exception as error:
        raise Failure("unsupported", f"this program of before Paddle 3 cannot be renewed: {words(error)}") from error
    return f"{new}.json", parameters_of(f"{new}.json")


def exported(program: str, parameters: str) -> Any:
    # As paddle2onnx.export calls it, which would print an error and go on.
    try:
        content = c_p2o.export(
            program, parameters, OPSET, True, False, True, True, True, {}, "onnxruntime", "", "", False
        )
        model = onnx.load_model_from_string(content)
    except Exception as error:
        raise Failure("unsupported", words(error)) from error
    if not model.graph.output:
        raise Failure("unsupported", "paddle2onnx wrote a graph without outputs")
    return model


def as_initializers(graph: Any) -> None:
    """Weights, which paddle2onnx writes as nodes."""
    kept = []
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            tensor = node.attribute[0].t
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
        else:
            kept.append(type(node).FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)


def name_tensors(graph: Any, names: dict[str, str]) -> None:
    """In the graph and in those inside it, which see its tensors."""
    for tensor in (*graph.input, *graph.output, *graph.initializer):
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                name_tensors(attribute.g, names)


def name_dims(graph: Any, said: dict[str, list[int | str]]) -> None:
    """A dynamic dim of an input is called as model.yaml says, else a first one ``batch``, another by its place, as
    ``image_2``."""
    batched = False
    for tensor in graph.input:
        names = said.get(tensor.name, [])
        for axis, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                own = names[axis] if axis < len(names) and isinstance(names[axis], str) else ""
                dim.dim_param = own or (f"{tensor.name}_{axis}" if axis else "batch")
                batched = batched or not axis
    for tensor in graph.output:
        for axis, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = "batch" if batched and not axis else f"{tensor.name}_{axis}"


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    predictor = load(request["model"])
    # A case of the user's is answered.
    if request.get("optional") and any(array.dtype.kind == "f" and np.isnan(array).any() for array in inputs.values()):
        raise Failure("wrong-inputs", "Paddle's relu and pooling on the CPU make numbers of NaN, which ONNX passes on")
    try:
        for name in predictor.get_input_names():
            predictor.get_input_handle(name).copy_from_cpu(inputs[name])
        predictor.run()
    except Exception as error:
        raise Failure("wrong-inputs", words(error)) from error
    outputs = public_outputs(predictor)
    return {name: predictor.get_output_handle(own).copy_to_cpu() for own, name in outputs.items()}


def words(error: object) -> str:
    """What Paddle says, without the traceback of C++ above it."""
    text = str(error).partition("Error Message Summary:")[2] or str(error)
    lines = [line.strip() for line in text.splitlines() if re.search(r"[A-Za-z]", line)]
    return " ".join(lines[:4])[:600] or type(error).__name__


if __name__ == "__main__":
    main(convert, answer, ("paddlepaddle", "paddle2onnx", "onnx"))
