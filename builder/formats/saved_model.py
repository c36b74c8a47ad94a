"""TensorFlow SavedModels: a directory with saved_model.pb, its variables and assets (tensorflow/core/protobuf).

The graph is read as the protobuf that it is, without TensorFlow. Operations that reach files or code are found in all
of it; those that write checkpoints are in every SavedModel, to be saved again, and are looked for in what is run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from builder.errors import UnsupportedModel
from builder.formats.known import SAVED_MODEL, Sighting
from builder.formats.protobuf_wire import all_of, one_of, text_of
from builder.formats.tensorflow_ops import reaches_out, writes_checkpoints
from builder.model.source import Detection, ModelSource

_BESIDE = frozenset({"saved_model.pb", "keras_metadata.pb", "fingerprint.pb"})
_BELOW = frozenset({"variables", "assets", "assets.extra"})
_INIT_COLLECTIONS = (b"saved_model_main_op", b"legacy_init_op")


class SavedModelUnreadable(UnsupportedModel):
    code = "saved-model-unreadable"
    message = "{path} is not a whole SavedModel: {reason}"
    hint = "it was cut off; save it again with tf.saved_model.save or model.export"


class SavedModelFormat:
    """See the module."""

    name = "tensorflow"
    summary = "TensorFlow: a SavedModel, a directory with saved_model.pb and variables/"
    kinds = (SAVED_MODEL,)

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(
            Detection(
                format=self.name,
                entry=sighting.path,
                evidence=(str(sighting),),
                covers=frozenset(_belonging(source, sighting.path)),
            )
            for sighting in sightings
            if sighting.kind in self.kinds
        )


def outward_operations(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """The operations of the graph that reach files or code. Raises SavedModelUnreadable."""
    try:
        graphs = tuple(_graphs(memoryview(source.locate(found.entry).read_bytes())))
    except (IndexError, ValueError, RecursionError) as error:
        raise SavedModelUnreadable(path=found.entry, reason=error) from error
    return tuple(dict.fromkeys(op for graph in graphs for op in _outward(graph)))


def _belonging(source: ModelSource, entry: PurePosixPath) -> Iterator[PurePosixPath]:
    for file in source.files:
        if file.path.is_relative_to(entry.parent):
            inner = file.path.relative_to(entry.parent)
            if file.path != entry and (str(inner) in _BESIDE or inner.parts[0] in _BELOW):
                yield file.path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Node:
    """``calls`` are names of functions in its attributes; ``writes`` is a file that it prints to."""

    op: str
    inputs: tuple[str, ...]
    calls: tuple[str, ...]
    writes: bool


Nodes = dict[str, _Node]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Graph:
    """``scopes`` are the nodes of the main graph ("") and of each function. ``run`` are the nodes of the main graph
    that loading and answering begin with, ``save`` those of saving."""

    scopes: dict[str, Nodes] = field(default_factory=dict)
    run: list[str] = field(default_factory=list)
    save: list[str] = field(default_factory=list)


def _outward(graph: _Graph) -> Iterator[str]:
    run, save = _reached(graph, graph.run), _reached(graph, graph.save)
    saving_only = {scope for scope, _ in save} - {scope for scope, _ in run}
    for scope, nodes in graph.scopes.items():
        for name, node in nodes.items():
            is_run = scope not in saving_only if scope else (scope, name) in run
            if reaches_out(node.op) or node.writes or (is_run and writes_checkpoints(node.op)):
                yield node.op


def _reached(graph: _Graph, roots: Iterable[str]) -> set[tuple[str, str]]:
    """What running ``roots`` runs: their inputs, and all of the functions that are called."""
    waiting, found = [("", root) for root in roots], set[tuple[str, str]]()
    while waiting:
        scope, name = waiting.pop()
        node = graph.scopes.get(scope, {}).get(name)
        if node is None or (scope, name) in found:
            continue
        found.add((scope, name))
        waiting += [(scope, given) for given in node.inputs]
        for function in (node.op, *node.calls):
            waiting += [(function, inner) for inner in graph.scopes.get(function, {}) if function]
    return found


def _graphs(content: memoryview) -> Iterator[_Graph]:
    """SavedModel.meta_graphs (2): MetaGraphDef with graph_def (2), saver_def (3), collections (4), signatures (5)."""
    for meta_graph in all_of(content, 2):
        graph = _Graph()
        for definition in all_of(meta_graph, 2):
            graph.scopes[""] = _nodes(all_of(definition, 1))
            for library in all_of(definition, 2):
                for function in all_of(library, 1):
                    name = text_of(one_of(one_of(function, 1), 1))
                    graph.scopes[name] = _nodes(all_of(function, 3))
        for saver in all_of(meta_graph, 3):
            graph.save.append(_node_name(one_of(saver, 2)))
            graph.run.append(_node_name(one_of(saver, 3)))
        for collection in all_of(meta_graph, 4):
            if bytes(one_of(collection, 1)) in _INIT_COLLECTIONS:
                graph.run.extend(_node_name(name) for name in all_of(one_of(one_of(collection, 2), 1), 1))
        for signature in all_of(meta_graph, 5):
            for output in all_of(one_of(signature, 2), 2):
                graph.run.append(_node_name(one_of(one_of(output, 2), 1)))
        yield graph


def _nodes(definitions: Iterable[memoryview]) -> Nodes:
    """NodeDef: name (1), op (2), inputs (3), attributes (5)."""
    return {text_of(one_of(node, 1)): _node(node) for node in definitions}


def _node(node: memoryview) -> _Node:
    calls: list[str] = []
    writes = False
    for attribute in all_of(node, 5):
        value = one_of(attribute, 2)
        # AttrValue: list (1), bytes (2), function (10); ListValue: functions (9); NameAttrList: name (1).
        functions = [*all_of(value, 10), *(f for items in all_of(value, 1) for f in all_of(items, 9))]
        calls += [text_of(one_of(function, 1)) for function in functions]
        writes = writes or (
            text_of(one_of(attribute, 1)) == "output_stream" and bytes(one_of(value, 2)).startswith(b"file:")
        )
    inputs = tuple(_node_name(name) for name in all_of(node, 3))
    return _Node(op=text_of(one_of(node, 2)), inputs=inputs, calls=tuple(calls), writes=writes)


def _node_name(tensor: memoryview) -> str:
    return text_of(tensor).removeprefix("^").partition(":")[0]
