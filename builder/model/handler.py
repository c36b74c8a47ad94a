"""The user's own ``handler.py``: what of it is there, read as text, and the interface that it makes (docs/handler.md).

Nothing of it is imported here: it runs in the server, and when the image is built in a worker's sandbox.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement

from builder.errors import SpecError
from builder.model.interface import Interface, require_fitting
from builder.model.signature import Signature, TensorSpec
from builder.model.source import ModelSource

FILE = PurePosixPath("handler.py")
BEFORE, AFTER = "preprocess", "postprocess"
_EXAMPLE = "handler:\n  {side}:\n    {name}: {{{{datatype: BYTES, shape: [batch]}}}}"


class HandlerUndeclared(SpecError):
    code = "handler-undeclared"
    message = "{path} has a function {function}, but model.yaml does not say what clients {verb}"
    hint = "say it in model.yaml, for example\n{example}"


class HandlerInvalid(SpecError):
    code = "handler-invalid"
    message = "{path} cannot be used: {reason}"
    hint = "docs/handler.md says what it has to look like"


class HandlerRequirementInvalid(SpecError):
    code = "handler-requirement-invalid"
    message = "{path}: {line!r} is not a requirement that can be locked: {reason}"
    hint = "write a name with versions, such as `rapidfuzz==3.14.3` or `regex>=2025`; wheels from an index only"


@dataclass(frozen=True, kw_only=True, slots=True)
class HandlerSpec:
    """What model.yaml says of it: ``inputs`` and ``outputs`` as clients see them, ``files`` that go beside it, and
    ``requirements``, or the file of the directory that lists them."""

    file: PurePosixPath = FILE
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    files: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    requirements_file: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Handler:
    """A handler that is used: ``functions`` of the two that it has; ``files`` are all that go into the image."""

    spec: HandlerSpec
    functions: frozenset[str]
    files: tuple[PurePosixPath, ...]
    requirements: tuple[str, ...]


def read_handler(source: ModelSource, spec: HandlerSpec | None) -> Handler | None:
    """The handler of a directory; None where there is none, or where the file is another program's (neither function,
    and model.yaml does not speak of it). Raises HandlerInvalid, HandlerUndeclared, HandlerRequirementInvalid."""
    path = spec.file if spec else FILE
    if source.find(path) is None:
        if spec is None:
            return None
        raise HandlerInvalid(path=path, reason="model.yaml names it, and the directory does not have it")
    functions = _functions(source.locate(path).read_bytes(), path)
    if not functions:
        if spec is None:
            return None
        raise HandlerInvalid(path=path, reason=f"it defines neither {BEFORE} nor {AFTER}")
    spec = spec or HandlerSpec()
    _require_declared(spec, functions)
    return Handler(
        spec=spec,
        functions=functions,
        files=(path, *_beside(source, spec)),
        requirements=tuple(_requirements(source, spec)),
    )


def _functions(content: bytes, path: PurePosixPath) -> frozenset[str]:
    """Those of the two that the file defines, assigns or imports at its top."""
    try:
        body = ast.parse(content, filename=str(path)).body
    except (SyntaxError, ValueError) as error:
        raise HandlerInvalid(path=path, reason=f"it is not Python: {error}") from error
    names: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AsyncFunctionDef) and node.name in (BEFORE, AFTER):
            raise HandlerInvalid(path=path, reason=f"{node.name} is asynchronous; it runs on a thread of its own")
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return frozenset(names & {BEFORE, AFTER})


def _require_declared(spec: HandlerSpec, functions: frozenset[str]) -> None:
    sides = ((BEFORE, "inputs", spec.inputs, "send", "text"), (AFTER, "outputs", spec.outputs, "get", "label"))
    for function, side, declared, verb, name in sides:
        if function in functions and not declared:
            example = _EXAMPLE.format(side=side, name=name)
            raise HandlerUndeclared(path=spec.file, function=function, verb=verb, example=example.format())
        if declared and function not in functions:
            reason = f"model.yaml declares handler.{side}, and it has no function {function}"
            raise HandlerInvalid(path=spec.file, reason=reason)


def _beside(source: ModelSource, spec: HandlerSpec) -> Iterator[PurePosixPath]:
    for pattern in spec.files:
        found = [file.path for file in source.files if file.path.match(pattern) and file.path != spec.file]
        if not found:
            raise HandlerInvalid(path=spec.file, reason=f"no file fits {pattern!r} of handler.files in model.yaml")
        for path in found:
            if path.name != str(path):
                raise HandlerInvalid(path=spec.file, reason=f"{path} is not beside it; handler.files are")
            yield path


def _requirements(source: ModelSource, spec: HandlerSpec) -> Iterator[str]:
    path, lines = PurePosixPath("model.yaml"), list(spec.requirements)
    if spec.requirements_file:
        path = PurePosixPath(spec.requirements_file)
        if source.find(path) is None:
            reason = f"model.yaml names {path} for its requirements, and the directory does not have it"
            raise HandlerInvalid(path=spec.file, reason=reason)
        text = source.locate(path).read_text(encoding="utf-8", errors="replace")
        lines = [line.partition(" #")[0].strip() for line in text.splitlines()]
    for line in lines:
        if not line or line.startswith("#"):
            continue
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise HandlerRequirementInvalid(path=path, line=line, reason=str(error).partition("\n")[0]) from error
        if requirement.url:
            raise HandlerRequirementInvalid(path=path, line=line, reason="it names an address")
        yield str(requirement)


def with_handler(interface: Interface | None, handler: Handler, graph: Signature, served: Signature) -> Interface:
    """The interface in which the handler's functions take the place of the steps that there are. ``served`` has the
    tensors of ``graph`` by the names that clients see, in the same order: those are the names that the handler uses."""
    plain = interface or _passing(graph, served)
    file = handler.spec.file.name
    if BEFORE in handler.functions:
        feeds = {one.name: other.name for one, other in zip(graph.inputs, served.inputs, strict=True)}
        step = {"step": "handler", "file": file, "feeds": feeds}
        plain = replace(plain, before=step, signature=replace(plain.signature, inputs=handler.spec.inputs))
    if AFTER in handler.functions:
        takes = {other.name: one.name for one, other in zip(graph.outputs, served.outputs, strict=True)}
        step = {"step": "handler", "file": file, "takes": takes}
        plain = replace(plain, after=step, signature=replace(plain.signature, outputs=handler.spec.outputs))
    require_fitting(plain, graph, handler.spec.file)
    return plain


def _passing(graph: Signature, served: Signature) -> Interface:
    """All tensors as they are."""
    inputs = zip(graph.inputs, served.inputs, strict=True)
    outputs = zip(graph.outputs, served.outputs, strict=True)
    return Interface(
        signature=served,
        before={"step": "pass", "feeds": {one.name: other.name for one, other in inputs}},
        after={"step": "pass", "outputs": {other.name: one.name for one, other in outputs}},
    )
