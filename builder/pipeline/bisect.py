"""``--bisect``: the node at which a wrong conversion departs from its source, found on the case that showed it."""

from __future__ import annotations

from dataclasses import replace

from builder.convert.answers import Questions
from builder.convert.convert import SourceModel, watch_source
from builder.convert.reference import answer_questions
from builder.errors import MbuildError
from builder.formats.onnx_nodes import float_weights, graph_nodes, with_all_values
from builder.host import Host
from builder.host.fs import temporary_directory
from builder.model.departure import Values, find_departure
from builder.model.golden import Array, GoldenCase
from builder.model.source import ModelArtifact
from builder.oci.digest import Digest


def located(model: SourceModel, artifact: ModelArtifact, case: GoldenCase, host: Host) -> str:
    """What is known of the node that departs, in a sentence. ``case`` has the names of the graph."""
    try:
        watched = watch_source(model, replace(case, outputs={}), host)
        values = Values(
            graph=_graph_values(artifact, case, host),
            weights=float_weights(artifact.graph),
            source=watched.values,
            source_weights=watched.weights,
        )
    except MbuildError as second:
        return f"nothing can be said of where: {second}"
    departure = find_departure(graph_nodes(artifact.graph), values)
    if departure is None:
        return "no node departs by itself: each has an equal in the source"
    if watched.sees_between:
        return f"the first node that departs is {departure}"
    return f"it departs at {departure}, or behind it: {model.converter.framework} shows no values in between"


def _graph_values(artifact: ModelArtifact, case: GoldenCase, host: Host) -> dict[str, Array]:
    """Every value of the graph that is a tensor, as onnxruntime computes it."""
    with temporary_directory(host.store.root / "scratch", prefix="bisect-") as directory:
        graph = directory / "model.onnx"
        graph.write_bytes(with_all_values(artifact.graph))
        (name, _, _), *rest = artifact.files
        open_graph = replace(artifact, files=((name, graph, Digest.of(graph.read_bytes())), *rest))
        (answered,) = answer_questions(open_graph, Questions(cases=(replace(case, outputs={}),)), host).cases
    return dict(answered.outputs)
