"""torch.export's programs (.pt2) to ONNX by PyTorch's exporter. The file says what the model takes.

Before torch sees it, a copy is made of what is known to hold numbers and a graph alone (pt2_archive). The first axis of
the inputs becomes ``batch`` where it is dynamic; another dynamic dim is called by its first place, as ``image_2``.
"""

import functools
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pt2_archive
import torch
import torch_common
from torch.utils import _pytree as pytree
from worker_io import Arrays, Failure, main

# torch's own reader of plain tensors, whatever torch.export.load asks for.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"


@functools.cache
def load(path: str) -> Any:
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "model.pt2"
        try:
            value = pt2_archive.write_checked(Path(path), copy)
            training = pt2_archive.trained(value)
        except pt2_archive.Unsafe as error:
            raise Failure("unsafe", error) from error
        except (pt2_archive.Broken, KeyError, TypeError, ValueError, RecursionError) as error:
            raise Failure("bad-model", error) from error
        if training:
            told = f"it was exported in training mode ({training}); call model.eval() before torch.export.export"
            raise Failure("unsupported", told)
        try:
            return torch.export.load(str(copy))
        except Exception as error:
            raise Failure("bad-model", torch_common.words(error)) from error


def placeholders(program: Any) -> dict[str, Any]:
    """The tensors that a caller gives, by name."""
    wanted = set(program.graph_signature.user_inputs)
    return {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in wanted
    }


def dim_names(inputs: dict[str, Any]) -> dict[str, str]:
    """torch's symbols to names for people."""
    found: dict[str, str] = {}
    for name, tensor in inputs.items():
        for axis, size in enumerate(tensor.shape):
            if re.fullmatch(r"[su]\d+", str(size)) and str(size) not in found:
                free = axis == 0 and "batch" not in found.values()
                found[str(size)] = "batch" if free else f"{name}_{axis}"
    return found


def ranges_of(program: Any, dims: dict[str, str]) -> dict[str, dict[str, int | None]]:
    """The sizes that the program was exported for, by the dim's name. torch writes 0 or 2 where nobody gave a least
    one, and takes 1 all the same."""
    found = {}
    for size, bounds in program.range_constraints.items():
        least, most = int(bounds.lower), bounds.upper
        if str(size) in dims:
            bound = int(most) if most.is_Integer and int(most) < 1 << 31 else None
            found[dims[str(size)]] = {"min": least if least > 2 else 1, "max": bound}
    return found


def outputs_of(program: Any) -> list[str]:
    """As the answers call them: from the shape of what the model gives."""
    spec = program.call_spec.out_spec
    marks = [torch.empty(0) for _ in range(spec.num_leaves)]
    return list(torch_common.named(pytree.tree_unflatten(marks, spec)))


def convert(request: dict[str, Any]) -> dict[str, Any]:
    program = load(request["model"])
    inputs = placeholders(program)
    odd = [name for name in program.graph_signature.user_inputs if not hasattr(inputs.get(name), "shape")]
    if odd:
        raise Failure("unsupported", f"the input {odd[0]} is no tensor")
    outputs, dims = outputs_of(program), dim_names(inputs)
    try:
        with torch_common.silent(), torch.no_grad():
            made = torch.onnx.export(
                program, (), dynamo=True, opset_version=torch_common.OPSET, input_names=list(inputs),
                output_names=outputs, external_data=False, verbose=False,
            )  # fmt: skip
    except Exception as error:
        raise Failure("unsupported", torch_common.words(error)) from error
    torch_common.write(made.model_proto, request, dims)
    ranges = json.dumps(ranges_of(program, dims), sort_keys=True)
    (Path(request["output"]) / "ranges.json").write_text(ranges, encoding="utf-8")
    return {"inputs": list(inputs), "outputs": outputs}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    program, given = load(request["model"]), torch_common.tensors(inputs)
    flat = [given[name] for name in program.graph_signature.user_inputs]
    args, kwargs = pytree.tree_unflatten(flat, program.call_spec.in_spec)
    try:
        with torch.no_grad():
            return torch_common.arrays(torch_common.named(_module(request["model"])(*args, **kwargs)))
    except RuntimeError as error:
        raise Failure("wrong-inputs", torch_common.words(error)) from error


@functools.cache
def _module(path: str) -> Any:
    return load(path).module()


if __name__ == "__main__":
    main(convert, answer, ("torch", "onnxscript", "onnx"))
