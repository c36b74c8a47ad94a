"""Tensor names: those of the graph, and those that clients see. The graph's bytes stay as they are; the server and the
reference translate, and everything the user reads or writes uses the names that clients see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from builder.model.golden import GoldenCase
from builder.model.manifest import ManifestInvalid, ModelManifest, Pairs, Renames
from builder.model.problems import Problem, listing, suggestion
from builder.model.signature import Signature, TensorSpec

T = TypeVar("T")


def serve_signature(graph: Signature, manifest: ModelManifest, plain: tuple[str, ...] = ()) -> Signature:
    """The signature that clients see; ``plain`` are further outputs, of the plain model. Raises ManifestInvalid where
    model.yaml names what is not there."""
    served = Signature(
        inputs=_renamed(graph.inputs, manifest.renames.inputs),
        outputs=_renamed(graph.outputs, manifest.renames.outputs),
    )
    problems = tuple(_problems(graph, served, manifest, plain))
    if problems:
        raise ManifestInvalid(path=manifest.path or "model.yaml", problems=listing(problems))
    return served


def serve_inputs(inputs: tuple[TensorSpec, ...], manifest: ModelManifest) -> Signature:
    """The inputs alone as clients see them, before it is known what the model gives."""
    return Signature(inputs=_renamed(inputs, manifest.renames.inputs), outputs=())


def with_declared_outputs(graph: Signature, manifest: ModelManifest, names: tuple[str, ...]) -> ModelManifest:
    """``manifest`` with the outputs called as the model's directory calls them (``names``, in the graph's order), where
    model.yaml says nothing else and there are as many."""
    own = _names(graph.outputs)
    if manifest.renames.outputs or len(names) != len(own) or set(names) == set(own):
        return manifest
    return replace(manifest, renames=replace(manifest.renames, outputs=tuple(zip(own, names, strict=True))))


def to_graph_names(case: GoldenCase, renames: Renames) -> GoldenCase:
    """The case with the tensor names of the graph, for a run of the model itself."""
    return replace(
        case,
        inputs=_with_names(case.inputs, {new: old for old, new in renames.inputs}),
        outputs=_with_names(case.outputs, {new: old for old, new in renames.outputs}),
    )


def to_served_names(case: GoldenCase, renames: Renames) -> GoldenCase:
    """The inverse of ``to_graph_names``."""
    return replace(
        case,
        inputs=_with_names(case.inputs, dict(renames.inputs)),
        outputs=_with_names(case.outputs, dict(renames.outputs)),
    )


def _with_names(tensors: Mapping[str, T], names: Mapping[str, str]) -> dict[str, T]:
    return {names.get(name, name): tensor for name, tensor in tensors.items()}


def _renamed(tensors: tuple[TensorSpec, ...], pairs: Pairs) -> tuple[TensorSpec, ...]:
    names = dict(pairs)
    return tuple(replace(tensor, name=names.get(tensor.name, tensor.name)) for tensor in tensors)


def _problems(
    graph: Signature, served: Signature, manifest: ModelManifest, plain: tuple[str, ...]
) -> Iterator[Problem]:
    yield from _unknown("renames.inputs", dict(manifest.renames.inputs), _names(graph.inputs), "input")
    yield from _unknown("renames.outputs", dict(manifest.renames.outputs), _names(graph.outputs), "output")
    yield from _unknown(
        "tolerance.outputs", dict(manifest.tolerance.outputs), [*_names(served.outputs), *plain], "output"
    )
    dims = {dim for tensor in (*graph.inputs, *graph.outputs) for dim in tensor.shape if isinstance(dim, str)}
    yield from _unknown("dims", {bounds.name: bounds for bounds in manifest.dims}, sorted(dims), "dynamic dim")
    for side, names in (("inputs", _names(served.inputs)), ("outputs", _names(served.outputs))):
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield Problem(f"renames.{side}", f"two tensors would be called {name!r}")


def _unknown(where: str, given: Mapping[str, object], known: list[str], kind: str) -> Iterator[Problem]:
    for name in given:
        if name not in known:
            yield Problem(f"{where}.{name}", f"the model has no such {kind}{suggestion(name, known)}")


def _names(tensors: tuple[TensorSpec, ...]) -> list[str]:
    return [tensor.name for tensor in tensors]
