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


Field = tuple[int, memoryview]


def _graphs(content: memoryview) -> Iterator[_Graph]:
    """SavedModel.meta_graphs (2): MetaGraphDef with graph_def (2), saver_def (3), collections (4), signatures (5)."""
    for meta_graph in _all(content, 2):
        graph = _Graph()
        for definition in _all(meta_graph, 2):
            graph.scopes[""] = _nodes(_all(definition, 1))
            for library in _all(definition, 2):
                for function in _all(library, 1):
                    name = _text(_one(_one(function, 1), 1))
                    graph.scopes[name] = _nodes(_all(function, 3))
        for saver in _all(meta_graph, 3):
            graph.save.append(_node_name(_one(saver, 2)))
            graph.run.append(_node_name(_one(saver, 3)))
        for collection in _all(meta_graph, 4):
            if bytes(_one(collection, 1)) in _INIT_COLLECTIONS:
                graph.run.extend(_node_name(name) for name in _all(_one(_one(collection, 2), 1), 1))
        for signature in _all(meta_graph, 5):
            for output in _all(_one(signature, 2), 2):
                graph.run.append(_node_name(_one(_one(output, 2), 1)))
        yield graph


def _nodes(definitions: Iterable[memoryview]) -> Nodes:
    """NodeDef: name (1), op (2), inputs (3), attributes (5)."""
    return {_text(_one(node, 1)): _node(node) for node in definitions}


def _node(node: memoryview) -> _Node:
    calls: list[str] = []
    writes = False
    for attribute in _all(node, 5):
        value = _one(attribute, 2)
        # AttrValue: list (1), bytes (2), function (10); ListValue: functions (9); NameAttrList: name (1).
        functions = [*_all(value, 10), *(f for items in _all(value, 1) for f in _all(items, 9))]
        calls += [_text(_one(function, 1)) for function in functions]
        writes = writes or (_text(_one(attribute, 1)) == "output_stream" and bytes(_one(value, 2)).startswith(b"file:"))
    inputs = tuple(_node_name(name) for name in _all(node, 3))
    return _Node(op=_text(_one(node, 2)), inputs=inputs, calls=tuple(calls), writes=writes)


def _node_name(tensor: memoryview) -> str:
    return _text(tensor).removeprefix("^").partition(":")[0]


def _text(content: memoryview) -> str:
    return bytes(content).decode(errors="replace")


def _one(content: memoryview, number: int) -> memoryview:
    """The last such field, as protobuf reads a field that is not repeated; empty where there is none."""
    return ([memoryview(b""), *_all(content, number)])[-1]


def _all(content: memoryview, number: int) -> Iterator[memoryview]:
    return (value for found, value in _fields(content) if found == number)


_SIZES = {1: 8, 5: 4}


def _fields(content: memoryview) -> Iterator[Field]:
    """The fields of a message that have a length, by number (protobuf.dev, encoding)."""
    place = 0
    while place < len(content):
        key, place = _varint(content, place)
        if key & 7 == 2:
            length, place = _varint(content, place)
            if place + length > len(content):
                raise ValueError("it is cut off")
            yield key >> 3, content[place : place + length]
            place += length
        elif key & 7 == 0:
            _, place = _varint(content, place)
        elif key & 7 in _SIZES:
            place += _SIZES[key & 7]
        else:
            raise ValueError("it is no protobuf")


def _varint(content: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError("it is no protobuf")
