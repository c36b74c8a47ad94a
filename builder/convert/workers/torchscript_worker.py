"""TorchScript files (torch.jit.save) to ONNX by PyTorch's first exporter, the one that takes them.

Such a file has the names of its inputs, not their datatypes and shapes: those come from model.yaml. Loading it runs no
code; calling it runs the operations of TorchScript, which know no files and no network.
"""

import functools
from typing import Any

import torch
import torch_common
from worker_io import Arrays, Failure, main


@functools.cache
def load(path: str) -> Any:
    try:
        return torch.jit.load(path, map_location="cpu").eval()
    except Exception as error:
        raise Failure("bad-model", torch_common.words(error)) from error


def takes(model: Any, request: dict[str, Any]) -> list[str]:
    """The inputs in the order of the call. Those that are left out must have a default. Where the directory declares
    them (MLflow, Triton), their names are its own and their order counts."""
    given = [tensor["name"] for tensor in request["inputs"]]
    arguments = list(model.forward.schema.arguments)[1:]
    names = [argument.name for argument in arguments]
    needed = [argument.name for argument in arguments if not argument.has_default_value()]
    if request["declared"]:
        if not len(needed) <= len(given) <= len(names):
            raise Failure("wrong-inputs", f"it takes {', '.join(names) or 'nothing'}; declared are {', '.join(given)}")
        return given
    unknown = [name for name in given if name not in names]
    missing = [name for name in needed if name not in given]
    if unknown or missing or names[: len(given)] != [name for name in names if name in given]:
        raise Failure("wrong-inputs", f"it takes {', '.join(names) or 'nothing'}; model.yaml has {', '.join(given)}")
    return [name for name in names if name in given]


def convert(request: dict[str, Any]) -> dict[str, Any]:
    model, examples = load(request["model"]), torch_common.examples(request)
    given = {name: examples[name] for name in takes(model, request)}
    outputs = torch_common.trial(model, given)
    try:
        proto = torch_common.exported_by_tracing(model, request, given, outputs)
    except Failure:
        raise
    except Exception as error:
        raise Failure("unsupported", torch_common.words(error)) from error
    torch_common.write(proto, request, torch_common.dims_of(request))
    return {"inputs": list(given), "outputs": list(outputs)}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    model, given = load(request["model"]), torch_common.tensors(inputs)
    ordered = [given[name] for name in takes(model, request)]
    try:
        with torch.no_grad():
            return torch_common.arrays(torch_common.named(model(*ordered)))
    except RuntimeError as error:
        raise Failure("wrong-inputs", torch_common.words(error)) from error


if __name__ == "__main__":
    main(convert, answer, ("torch", "onnx"))
