"""Parameters of JAX (flax msgpack, safetensors, .npz) and the user's own code to ONNX by jax2onnx.

The code is a flax.linen.Module, a flax.nnx.Module, or a function of the parameters and the inputs; it is imported here,
in the worker, and nowhere else. Parameters are read as plain arrays, and all of them must fit the model.
"""

import functools
import inspect
import json
import logging
import re
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen
import flax.serialization
import jax
import jax2onnx
import numpy as np
import onnx_output
import safetensors.numpy
import user_module
from flax import nnx
from worker_io import Arrays, Failure, main

logging.disable(logging.WARNING)
_DATATYPES = {
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "FP16": "float16",
    "FP32": "float32",
}
_LIBRARIES = "jax, flax, optax, einops, numpy"

Tree = dict[str, Any]
Model = Callable[..., Any]


def parameters(path: str) -> Tree:
    """Arrays by name, names in names where the file is flat: layer.kernel or layer/kernel."""
    try:
        if path.endswith(".safetensors"):
            tree = _nested(safetensors.numpy.load_file(path))
        elif path.endswith(".npz"):
            with np.load(path, allow_pickle=False) as members:
                tree = _nested({name: members[name] for name in members.files})
        else:
            tree = flax.serialization.msgpack_restore(Path(path).read_bytes())
    except Exception as error:
        raise Failure("bad-model", words(error)) from error
    if not isinstance(tree, dict):
        raise Failure("bad-model", f"it holds a {type(tree).__name__}, not parameters by name")
    return dict(jax.tree_util.tree_map(jax.numpy.asarray, tree))


def _nested(flat: Mapping[str, Any]) -> Tree:
    tree: Tree = {}
    for name, array in flat.items():
        *above, last = re.split(r"[./]", name)
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = array
    return tree


def paths_of(tree: Any, above: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every array's name and shape."""
    if isinstance(tree, Mapping):
        for name, value in tree.items():
            yield from paths_of(value, (*above, str(name)))
    else:
        yield ".".join(above), tuple(np.shape(tree))


def require_equal(given: Tree, wanted: Tree) -> None:
    """Raise Failure where the parameters of the file are not those of the model."""
    own, file = dict(paths_of(wanted)), dict(paths_of(given))
    missing = [name for name in own if name not in file]
    unknown = [name for name in file if name not in own]
    other = [
        f"{name} is {list(file[name])}, not {list(own[name])}" for name in own if file.get(name, own[name]) != own[name]
    ]
    told = [f"missing: {', '.join(missing[:5])}"] if missing else []
    told += [f"not in the model: {', '.join(unknown[:5])}"] if unknown else []
    if told or other:
        raise Failure("wrong-module", f"the parameters do not fit: {'; '.join([*told, *other[:5]])}")


@functools.cache
def loaded(key: str) -> Model:
    """Built once for all cases; ``key`` is the request as text."""
    request = json.loads(key)
    member, tree = user_module.member(request["module"], request["directory"], _LIBRARIES), parameters(request["model"])
    arguments = request["module"]["arguments"]
    try:
        if inspect.isclass(member) and issubclass(member, flax.linen.Module):
            return _linen(member(**arguments), tree, examples(request))
        if inspect.isclass(member) and issubclass(member, nnx.Module):
            rngs = {"rngs": nnx.Rngs(0)} if "rngs" in inspect.signature(member.__init__).parameters else {}
            return _nnx(member(**arguments, **rngs), tree)
        if inspect.isfunction(member):
            return lambda *inputs: member(tree, *inputs, **arguments)
    except Failure:
        raise
    except Exception as error:
        raise Failure("wrong-module", f"{request['module']['file']}: {type(error).__name__}: {words(error)}") from error
    name = request["module"]["class"]
    raise Failure("wrong-module", f"{name} is neither a module of flax nor a function of parameters and inputs")


def _linen(model: Any, tree: Tree, given: list[Any]) -> Model:
    """``tree`` has the collections (params, batch_stats ...), or is the one called params."""
    variables = tree if "params" in tree else {"params": tree}
    wanted = jax.eval_shape(lambda *inputs: model.init(jax.random.PRNGKey(0), *inputs), *given)
    require_equal(variables, {name: wanted[name] for name in wanted if name in ("params", "batch_stats")})
    return lambda *inputs: model.apply(variables, *inputs)


def _nnx(model: Any, tree: Tree) -> Model:
    graph, state, rest = nnx.split(model, nnx.Any(nnx.Param, nnx.BatchStat), ...)
    pure = nnx.to_pure_dict(state)
    require_equal(tree, pure)
    nnx.replace_by_pure_dict(state, _with_numbers(tree))
    merged = nnx.merge(graph, state, rest)
    merged.eval()
    return lambda *inputs: merged(*inputs)


def _with_numbers(tree: Any) -> Any:
    """The places of lists, which are numbers in nnx and text in every file."""
    if not isinstance(tree, Mapping):
        return tree
    return {int(name) if str(name).isdigit() else name: _with_numbers(value) for name, value in tree.items()}


def load(request: dict[str, Any]) -> Model:
    return loaded(json.dumps({key: request[key] for key in ("directory", "model", "module", "inputs", "dims")}))


def examples(request: dict[str, Any]) -> list[Any]:
    """What the inputs look like, with two for a batch and different sizes for other dims."""
    sizes: dict[str, int] = {}
    made = []
    for tensor in request["inputs"]:
        for axis, dim in enumerate(tensor["shape"]):
            if isinstance(dim, str) and dim not in sizes:
                bounds = request["dims"].get(dim)
                sizes[dim] = bounds["opt"] if bounds else 2 if axis == 0 else 16 + 8 * len(sizes)
        shape = tuple(sizes[dim] if isinstance(dim, str) else dim for dim in tensor["shape"])
        made.append(jax.ShapeDtypeStruct(shape, dtype_of(tensor)))
    return made


def dtype_of(tensor: dict[str, Any]) -> Any:
    if tensor["datatype"] not in _DATATYPES:
        told = f"{tensor['name']} is {tensor['datatype']}; JAX computes with {', '.join(_DATATYPES)}"
        raise Failure("wrong-inputs", told)
    return np.dtype(_DATATYPES[tensor["datatype"]])


def named(value: Any) -> Tree:
    """The arrays of what a model gave, by name, in JAX's order: output, output_0 ..., or a dict's own names."""
    found = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
        parts = [str(getattr(key, "key", getattr(key, "name", getattr(key, "idx", "")))) for key in path]
        text = "_".join(re.sub(r"\W", "_", part) for part in parts)
        found[text if text and not text[0].isdigit() else f"output_{text}".rstrip("_")] = leaf
    if not found:
        raise Failure("unsupported", "the model gives no output")
    return found


def convert(request: dict[str, Any]) -> dict[str, Any]:
    given = examples(request)
    model = load(request)
    try:
        outputs = named(jax.eval_shape(model, *given))
    except Failure:
        raise
    except Exception as error:
        described = ", ".join(
            f"{t['name']} {g.dtype} {list(g.shape)}" for t, g in zip(request["inputs"], given, strict=True)
        )
        raise Failure("wrong-inputs", f"with {described} JAX says: {words(error)}") from error
    inputs = [
        types.SimpleNamespace(shape=tuple(tensor["shape"]), dtype=dtype_of(tensor)) for tensor in request["inputs"]
    ]
    names = [tensor["name"] for tensor in request["inputs"]]
    try:
        proto = jax2onnx.to_onnx(
            lambda *arrays: tuple(named(model(*arrays)).values()), inputs=inputs, input_names=names,
            output_names=list(outputs), opset=onnx_output.OPSET,
        )  # fmt: skip
    except Exception as error:
        raise Failure("unsupported", f"{type(error).__name__}: {words(error)}") from error
    lost = [name for name in names if name not in {tensor.name for tensor in proto.graph.input}]
    if lost:
        raise Failure("unsupported", f"the exporter finds that the input {lost[0]} changes nothing; leave it out")
    onnx_output.write_model(proto, request["output"], "mbuild-jax")
    return {"inputs": names, "outputs": list(outputs)}


def answer(request: dict[str, Any], inputs: Arrays) -> Arrays:
    given = [jax.numpy.asarray(inputs[tensor["name"]]) for tensor in request["inputs"]]
    try:
        return {name: np.asarray(array) for name, array in named(load(request)(*given)).items()}
    except (TypeError, ValueError) as error:
        raise Failure("wrong-inputs", words(error)) from error


def words(error: object) -> str:
    """The first lines of what JAX says, without its advice about tracebacks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("---")]
    return " ".join(lines[:4])[:600] or type(error).__name__


if __name__ == "__main__":
    main(convert, answer, ("jax", "flax", "jax2onnx", "onnx"))
