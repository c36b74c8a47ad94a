"""Weights (a state_dict of torch.save, or safetensors) and the user's own module to ONNX by PyTorch's exporter.

The module is the user's code; it is imported here, in the worker, and nowhere else. Weights are read as plain tensors:
``weights_only`` for torch.save, so that a pickle that would call anything is refused. All of them must fit the module.
"""

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch_common
import user_module
from worker_io import Arrays, Failure, main


def weights(path: str, is_allowed: bool = False) -> dict[str, torch.Tensor]:
    """The tensors by name; of a checkpoint, the mapping of tensors in it."""
    with Path(path).open("rb") as file:
        head = file.read(9)
    if head.endswith(b"{"):  # the header of safetensors, after its length
        try:
            return dict(safetensors.torch.load_file(path))
        except Exception as error:
            raise Failure("bad-model", torch_common.words(error)) from error
    try:
        value = torch.load(path, map_location="cpu", weights_only=not is_allowed)
    except Exception as error:
        kind = "unsafe" if re.search(r"GLOBAL|Unsupported|can only build", str(error)) else "bad-model"
        raise Failure(kind, refused(error)) from error
    if isinstance(value, torch.nn.Module):
        value = value.state_dict()
    found = [inner for inner in (value, *values_of(value)) if is_weights(inner)]
    if len(found) != 1:
        keys = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
        raise Failure("bad-model", f"it holds {len(found)} mappings of names to tensors, not one: {keys}")
    return dict(found[0])


def refused(error: Exception) -> str:
    """What a pickle asked for, from torch's page of advice."""
    found = re.search(r"GLOBAL (\S+)", str(error))
    if found is None:
        return str(torch_common.words(error))
    return f"its pickle calls {found[1]}. A whole module was saved? Then save its state_dict() instead"


def values_of(value: Any) -> list[Any]:
    return list(value.values()) if isinstance(value, Mapping) and not is_weights(value) else []


def is_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, torch.Tensor) for item in value.values())


def build(request: dict[str, Any]) -> torch.nn.Module:
    """Import the user's file and call what model.yaml names."""
    spec = request["module"]
    member = user_module.member(spec, request["directory"], "torch, numpy, safetensors")
    try:
        made = member(**spec["arguments"])
    except Exception as error:
        told = f"{spec['file']}: {type(error).__name__}: {torch_common.words(error)}"
        raise Failure("wrong-module", told) from error
    if not isinstance(made, torch.nn.Module):
        raise Failure("wrong-module", f"{spec['class']} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


@functools.cache
def loaded(key: str) -> torch.nn.Module:
    """Built once for all cases; ``key`` is the request as text."""
    request = json.loads(key)
    model, given = build(request), weights(request["model"], request["allow_code"])
    if all(name.startswith("module.") for name in given):  # torch.nn.DataParallel saved it
        given = {name.removeprefix("module."): tensor for name, tensor in given.items()}
    try:
        model.load_state_dict(given, strict=True)
    except RuntimeError as error:
        raise Failure("wrong-module", torch_common.words(error)) from error
    return model.eval()


def load(request: dict[str, Any]) -> torch.nn.Module:
    return loaded(json.dumps({key: request[key] for key in ("directory", "model", "module", "allow_code")}))


def convert(request: dict[str, Any]) -> dict[str, Any]:
    model, given = load(request), torch_common.examples(request)
    outputs = torch_common.trial(model, given)
    try:
        proto = exported(model, request, given, list(outputs))
    except Exception as error:
        proto = scripted(model, request, given, outputs, error)
    torch_common.write(proto, request, torch_common.dims_of(request))
    return {"inputs": list(given), "outputs": list(outputs)}


def exported(model: Any, request: dict[str, Any], given: dict[str, Any], outputs: list[str]) -> Any:
    bounds, dims = request["dims"], {}
    for name, own in torch_common.dims_of(request).items():
        limit = bounds.get(own, {"min": 1, "max": None})
        dims[name] = torch.export.Dim(name, min=limit["min"], max=limit["max"])
    shapes = tuple(
        {axis: dims[name] for axis, name in axes.items()} for axes in torch_common.dynamic_axes(request).values()
    )
    with torch_common.silent(), torch.no_grad():
        program = torch.onnx.export(
            model, tuple(given.values()), dynamo=True, opset_version=torch_common.OPSET, dynamic_shapes=shapes,
            input_names=list(given), output_names=outputs, external_data=False, verbose=False,
        )  # fmt: skip
    return program.model_proto


def scripted(model: Any, request: dict[str, Any], given: Any, outputs: Any, first: Exception) -> Any:
    """The way for models whose path depends on their data; what the first exporter said, if this is none."""
    try:
        return torch_common.exported_by_tracing(torch.jit.script(model), request, given, outputs)
    except Exception as error:
        raise Failure("unsupported", torch_common.words(first)) from error


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    model, given = load(request), torch_common.tensors(inputs)
    try:
        with torch.no_grad():
            return torch_common.arrays(torch_common.named(model(*(given[t["name"]] for t in request["inputs"]))))
    except RuntimeError as error:
        raise Failure("wrong-inputs", torch_common.words(error)) from error


if __name__ == "__main__":
    main(convert, answer, ("torch", "onnxscript", "safetensors", "onnx"))
