"""``config.pbtxt`` of Triton: the settings of a model in protobuf's text form (triton-inference-server/common,
protobuf/model_config.proto).

Fields that mbuild does not read are skipped, as an older Triton skips newer ones. Refused: text that is none,
with its line, and a value that is not what the field takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeVar

from builder.errors import UnsupportedModel
from builder.formats.protobuf_text import Message, TextProblem, Word, parse
from builder.model.signature import Datatype, Dim, TensorSpec

T = TypeVar("T")
_KINDS = {dict: "a message in { }", str: "a text in quotes", int: "a whole number", Word: "a word without quotes"}


class TritonConfigInvalid(UnsupportedModel):
    code = "triton-config-invalid"
    message = "{path}: {problem}"
    hint = "it is protobuf text, as the model configuration of Triton is documented; `name: value`, lists in [ ]"


@dataclass(frozen=True, kw_only=True, slots=True)
class TritonConfig:
    """``runtime`` is the backend, by its platform where only that is given; ``versions`` are those that a policy names
    (empty: all); ``max_batch`` 0 where the model has no batch dim of Triton's. Tensors have that dim, and the shape
    that the model itself sees."""

    runtime: str
    file: str = ""
    max_batch: int = 0
    versions: tuple[int, ...] = ()
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    optional: frozenset[str] = frozenset()


def parse_config(content: bytes, path: PurePosixPath) -> TritonConfig:
    """``path`` is for messages. Raises TritonConfigInvalid."""
    try:
        return _config(parse(content.decode()))
    except (TextProblem, UnicodeDecodeError) as error:
        raise TritonConfigInvalid(path=path, problem=error) from error


def _config(fields: Message) -> TritonConfig:
    max_batch = _last(fields, "max_batch_size", int, 0)
    if max_batch < 0:
        raise TextProblem(f"max_batch_size: it is {max_batch}")
    policy = _last(fields, "version_policy", dict, {})
    inputs = tuple(_all(fields, "input", dict))
    return TritonConfig(
        runtime="ensemble"
        if "ensemble_scheduling" in fields
        else _last(fields, "backend", str, "") or _last(fields, "platform", str, ""),
        file=_last(fields, "default_model_filename", str, ""),
        max_batch=max_batch,
        versions=tuple(_all(_last(policy, "specific", dict, {}), "versions", int)),
        inputs=tuple(_tensor(given, "input", max_batch) for given in inputs),
        outputs=tuple(_tensor(given, "output", max_batch) for given in _all(fields, "output", dict)),
        optional=frozenset(str(given["name"][-1]) for given in inputs if given.get("optional") == ["true"]),
    )


def _tensor(given: Message, side: str, max_batch: int) -> TensorSpec:
    name = _last(given, "name", str, "")
    if not name:
        raise TextProblem(f"{side}: a tensor has no name")
    kind = _last(given, "data_type", Word, Word("")).removeprefix("TYPE_").replace("STRING", "BYTES")
    if kind not in set(Datatype):
        raise TextProblem(f"{side} {name}: its data_type is {kind or 'missing'}")
    reshape = _last(given, "reshape", dict, {})
    sizes = tuple(_all(reshape, "shape", int) if "reshape" in given else _all(given, "dims", int))
    first: tuple[Dim, ...] = ("batch",) if max_batch else ()
    rest = (size if size >= 0 else _dim(name, axis) for axis, size in enumerate(sizes, len(first)))
    return TensorSpec(name=name, datatype=Datatype(kind), shape=(*first, *rest))


def _dim(name: str, axis: int) -> str:
    return "batch" if axis == 0 else f"{name}_{axis}"


def _all(fields: Message, name: str, kind: type[T]) -> Iterator[T]:
    for value in fields.get(name, []):
        if not isinstance(value, kind) or (kind is str and isinstance(value, Word)):
            raise TextProblem(f"{name}: it is {value!r}, not {_KINDS[kind]}")
        yield value


def _last(fields: Message, name: str, kind: type[T], default: T) -> T:
    """The value of a field that may stand once; the last one counts, as protobuf has it."""
    values = [*_all(fields, name, kind)]
    return values[-1] if values else default
