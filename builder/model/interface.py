"""``interface.json``: what stands around a graph so that people can call it (docs/plain.md, ADR 8).

Read and checked against the graph; nothing of it is run here. The steps themselves are builder/serve/steps. Names of
tensors in it are the graph's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from builder.errors import SpecError
from builder.model.problems import Problem, listing, suggestion
from builder.model.schema_check import check_schema
from builder.model.signature import Datatype, Signature, TensorSpec

FILE = PurePosixPath("interface.json")
SCHEMA = 1
_FLOATS = (Datatype.FP16, Datatype.FP32, Datatype.FP64)


class InterfaceInvalid(SpecError):
    code = "interface-invalid"
    message = "{path} does not fit the model:\n{problems}"
    hint = "docs/plain.md has its grammar; the graph takes {inputs} and gives {outputs}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """``signature`` is what clients see; ``before`` and ``after`` are the steps with their settings."""

    signature: Signature
    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def steps(self) -> frozenset[str]:
        return frozenset({self.before["step"], self.after["step"]})

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the steps read, beside interface.json."""
        return tuple(sorted({step["file"] for step in (self.before, self.after) if "file" in step}))

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            **self.signature.to_json(),
            "before": dict(self.before),
            "after": dict(self.after),
        }


def parse_interface(content: bytes, graph: Signature, path: PurePosixPath = FILE) -> Interface:
    """The interface for a graph of that signature. Raises InterfaceInvalid with all problems."""
    try:
        value = json.loads(content)
    except ValueError as error:
        raise _invalid(path, graph, [Problem("", f"it is not JSON: {error}")]) from error
    problems = check_schema(value, "interface")
    if problems:
        raise _invalid(path, graph, problems)
    signature = Signature(inputs=_tensors(value["inputs"]), outputs=_tensors(value["outputs"]))
    interface = Interface(signature=signature, before=value["before"], after=value["after"])
    require_fitting(interface, graph, path)
    return interface


def require_fitting(interface: Interface, graph: Signature, path: PurePosixPath = FILE) -> None:
    """Raise InterfaceInvalid where the steps do not take and give what the graph and the signature say."""
    problems = [*_before_problems(interface, graph), *_after_problems(interface, graph)]
    if problems:
        raise _invalid(path, graph, problems)


def _invalid(path: PurePosixPath, graph: Signature, problems: Any) -> InterfaceInvalid:
    inputs, outputs = (", ".join(tensor.name for tensor in side) for side in (graph.inputs, graph.outputs))
    return InterfaceInvalid(path=path, problems=listing(problems), inputs=inputs, outputs=outputs)


def _tensors(given: list[dict[str, Any]]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=each["name"], datatype=Datatype(each["datatype"]), shape=tuple(each["shape"])) for each in given
    )


def _before_problems(interface: Interface, graph: Signature) -> Iterator[Problem]:
    step, known = interface.before, {tensor.name: tensor for tensor in graph.inputs}
    own = {tensor.name: tensor for tensor in interface.signature.inputs}
    feeds = step["feeds"] if isinstance(step["feeds"], dict) else {step["feeds"]: ""}
    for name in sorted(feeds.keys() - known.keys()):
        yield Problem("before.feeds", f"the graph has no input {name!r}{suggestion(name, known)}")
    for name in sorted(known.keys() - feeds.keys()):
        yield Problem("before.feeds", f"the graph's input {name!r} is not fed")
    if step["step"] in ("tokenize", "image"):
        given = own.get(step["input"])
        if len(own) != 1 or given is None or given.datatype is not Datatype.BYTES or len(given.shape) != 1:
            yield Problem("before.input", f"it is {step['input']!r}; `inputs` must have that one alone, BYTES [batch]")
        datatype, rank = (Datatype.INT64, 2) if step["step"] == "tokenize" else (Datatype.FP32, 4)
        for tensor in (known[name] for name in feeds if name in known):
            if tensor.datatype is not datatype or len(tensor.shape) != rank:
                found = f"{tensor.datatype} {list(tensor.shape)}"
                yield Problem("before.feeds", f"{tensor.name!r} is {found}; the step gives {datatype} of {rank} dims")
    if step["step"] == "pass":
        yield from _passing("before.feeds", feeds, known, own)


def _after_problems(interface: Interface, graph: Signature) -> Iterator[Problem]:
    step, known = interface.after, {tensor.name: tensor for tensor in graph.outputs}
    own = {tensor.name: tensor for tensor in interface.signature.outputs}
    taken = step.get("outputs") or step.get("takes") or {"scores": step.get("scores")}
    for name in sorted(set(taken.values()) - known.keys()):
        yield Problem("after", f"the graph has no output {name!r}{suggestion(name, known)}")
    if step["step"] == "pass":
        for name in sorted(own.keys() ^ step["outputs"].keys()):
            yield Problem("after.outputs", f"{name!r} is not both there and in `outputs`")
        yield from _passing("after.outputs", {source: name for name, source in step["outputs"].items()}, known, own)
    if step["step"] in ("classify", "tokens"):
        yield from _label_problems(interface, known.get(step["scores"]))


def _passing(
    where: str, pairs: Mapping[str, str], known: Mapping[str, TensorSpec], own: Mapping[str, TensorSpec]
) -> Iterator[Problem]:
    """What passes as it is has one datatype and rank on both sides."""
    for graph, name in pairs.items():
        one, other = known.get(graph), own.get(name)
        if other is None:
            yield Problem(where, f"the interface has no tensor {name!r}")
        elif one and (one.datatype is not other.datatype or len(one.shape) != len(other.shape)):
            found = f"{one.datatype} {list(one.shape)}"
            yield Problem(where, f"{name!r} is {other.datatype} {list(other.shape)}, the graph's {graph!r} is {found}")


def _label_problems(interface: Interface, scores: TensorSpec | None) -> Iterator[Problem]:
    step = interface.after
    rank, outputs = (
        (2, {"label": "BYTES", "scores": "FP32"}) if step["step"] == "classify" else (3, {"entities": "BYTES"})
    )
    if {tensor.name: tensor.datatype.value for tensor in interface.signature.outputs} != outputs:
        yield Problem("outputs", f"the step {step['step']} gives {', '.join(f'{n} {d}' for n, d in outputs.items())}")
    if step["step"] == "tokens" and interface.before["step"] != "tokenize":
        yield Problem("after.step", "the step tokens needs the step tokenize before the graph")
    if scores is None:
        return
    if scores.datatype not in _FLOATS or len(scores.shape) != rank:
        found = f"{scores.datatype} {list(scores.shape)}"
        yield Problem("after.scores", f"{scores.name!r} is {found}, not floats of {rank} dims")
    elif isinstance(scores.shape[-1], int) and scores.shape[-1] != len(step["labels"]):
        yield Problem("after.labels", f"there are {len(step['labels'])}, the graph gives {scores.shape[-1]} scores")
