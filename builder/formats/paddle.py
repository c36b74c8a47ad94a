"""Inference models of PaddlePaddle: a program (NAME.json, before Paddle 3 NAME.pdmodel) and NAME.pdiparams beside it.

Both kinds of program are read here as the JSON or the protobuf that they are (paddle/fluid/framework/framework.proto),
without Paddle. They are graphs of operators; those that reach files, or that call code which is not Paddle's own, are
looked for in all of their blocks. Weights without a program (.pdparams, a pickle) are refused with what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from builder.errors import UnsupportedModel
from builder.formats.known import PADDLE, PADDLE_PARAMETERS, PADDLE_WEIGHTS, Sighting
from builder.formats.paddle_parameters import problem_of
from builder.formats.protobuf_wire import all_of, number_of, one_of, text_of
from builder.model.source import Detection, ModelSource

_DIALECTS = {"1": "pd_op", "3": "custom_op"}
"""How a program of Paddle 3 shortens them (paddle/fluid/pir/serialize_deserialize/src/schema.cc)."""
_OUTWARD = frozenset(
    {
        *("py_func", "run_program"),
        *("load", "load_combine", "save", "save_combine", "read_file"),
        *("tensorrt_engine", "openvino_engine"),
    }
)
_SAVE = "paddle.jit.save(layer, 'model', input_spec=[paddle.static.InputSpec([None, 4], 'float32', 'features')])"


class PaddleUnreadable(UnsupportedModel):
    code = "paddle-unreadable"
    message = "{path} is not a whole program of PaddlePaddle: {reason}"
    hint = "it was cut off; save it again with paddle.jit.save, or fetch it again"


class PaddleParametersMissing(UnsupportedModel):
    code = "paddle-parameters-missing"
    message = "{path} is a program of PaddlePaddle whose parameters are missing: there is no {parameters}"
    hint = "paddle.jit.save writes both; put {parameters} beside it"


class PaddleParametersBroken(UnsupportedModel):
    code = "paddle-parameters-broken"
    message = "{path} does not hold whole parameters of PaddlePaddle: {reason}"
    hint = "it was cut off or changed; save the model again with paddle.jit.save, or fetch it again"


class PaddleProgramMissing(UnsupportedModel):
    code = "paddle-program-missing"
    message = "{path} holds parameters of PaddlePaddle, but not the program that computes with them"
    hint = f"save both where the layer's code is, after `layer.eval()`, and pack what is written: {_SAVE}"


class PaddleFormat:
    """See the module."""

    name = "paddle"
    summary = "PaddlePaddle: an inference model, .json or .pdmodel with its .pdiparams"
    kinds = (PADDLE,)

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(
            Detection(
                format=self.name,
                entry=sighting.path,
                evidence=(str(sighting),),
                covers=frozenset((parameters_of(sighting.path), sighting.path.with_suffix(".pdiparams.info"))),
            )
            for sighting in sightings
            if sighting.kind in self.kinds
        )

    def refusal(self, sightings: tuple[Sighting, ...]) -> UnsupportedModel | None:
        """What to say of a directory that holds weights of Paddle and no program."""
        alone = (sighting for sighting in sightings if sighting.kind in (PADDLE_WEIGHTS, PADDLE_PARAMETERS))
        found = next(alone, None)
        return PaddleProgramMissing(path=found.path) if found else None


def parameters_of(entry: PurePosixPath) -> PurePosixPath:
    return entry.with_suffix(".pdiparams")


def require_parameters(source: ModelSource, entry: PurePosixPath) -> None:
    """Raises PaddleParametersMissing, PaddleParametersBroken and PaddleUnreadable. A program without parameters has no
    such file."""
    parameters = parameters_of(entry)
    if source.find(parameters) is None:
        if "parameter" in _operators(source, entry):
            raise PaddleParametersMissing(path=entry, parameters=parameters)
        return
    problem = problem_of(source.locate(parameters))
    if problem:
        raise PaddleParametersBroken(path=parameters, reason=problem)


def outward_paddle_operators(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """The operators that reach files or foreign code. Raises PaddleUnreadable."""
    names = dict.fromkeys(_operators(source, found.entry))
    return tuple(name for name in names if name in _OUTWARD or name.startswith("custom_op."))


def _operators(source: ModelSource, entry: PurePosixPath) -> tuple[str, ...]:
    """By the names that Paddle's own have in Python; ``parameter`` stands for what is in the .pdiparams."""
    content = source.locate(entry).read_bytes()
    try:
        return tuple(_of_protobuf(memoryview(content)) if entry.suffix == ".pdmodel" else _of_json(content))
    except (ValueError, IndexError, RecursionError) as error:
        raise PaddleUnreadable(path=entry, reason=error) from error


def _of_json(content: bytes) -> Iterator[str]:
    """Every "#" is the name of an operator, or of a type or attribute. Where a key is there twice, both count."""
    names = list[str]()

    def read(pairs: list[tuple[str, object]]) -> None:
        names.extend(value for key, value in pairs if key == "#" and isinstance(value, str))

    json.loads(content, object_pairs_hook=read)
    for name in names:
        short, _, own = name.partition(".")
        dialect = _DIALECTS.get(short, short)
        if name in ("p", "builtin.parameter"):
            yield "parameter"
        elif dialect == "pd_op":
            yield own.removesuffix("_")
        else:
            yield f"{dialect}.{own}"


def _of_protobuf(content: memoryview) -> Iterator[str]:
    """ProgramDesc.blocks (1): BlockDesc with vars (3) and ops (4); OpDesc.type (3); VarDesc.name (1) and persistable
    (3), which in a program that is saved to be served are its parameters, feed and fetch."""
    for block in all_of(content, 1):
        yield from (text_of(one_of(operator, 3)) for operator in all_of(block, 4))
        for variable in all_of(block, 3):
            if number_of(variable, 3) and text_of(one_of(variable, 1)) not in ("feed", "fetch"):
                yield "parameter"
