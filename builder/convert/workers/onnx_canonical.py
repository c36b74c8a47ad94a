"""The same graph as the same bytes, for exporters whose names and order differ from run to run.

Nodes come in the order in which the outputs ask for them, and have names by that order; constants with the same content
are one, and what no output needs is gone. Inputs and outputs of the model keep their names. Stands beside the workers;
needs onnx and nothing of mbuild.
"""

from collections.abc import Iterator
from typing import Any


def canonical(model: Any) -> None:
    """Change the model in place."""
    _order(model.graph)
    _rename(model.graph, {}, "", {tensor.name for tensor in model.graph.output})
    opsets = sorted(model.opset_import, key=lambda opset: str(opset.domain))
    kept = [(opset.domain, opset.version) for opset in opsets]
    del model.opset_import[:], model.metadata_props[:]
    for domain, version in kept:
        model.opset_import.add(domain=domain, version=version)


def _graphs(node: Any) -> Iterator[tuple[str, Any]]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.name, attribute.g
        yield from ((f"{attribute.name}_{number}", graph) for number, graph in enumerate(attribute.graphs))


def _order(graph: Any) -> None:
    """Depth first from the outputs; the graphs inside first, since what they take from outside is asked in their
    order."""
    for node in graph.node:
        for _, inner in _graphs(node):
            _settle_twins(inner)
            _order(inner)
    makers = {name: node for node in graph.node for name in node.output if name}
    ordered: list[Any] = []
    begun, done = set[int](), set[int]()
    waiting = [makers[tensor.name] for tensor in reversed(graph.output) if tensor.name in makers]
    while waiting:
        node = waiting[-1]
        if id(node) in begun:
            waiting.pop()
            if id(node) not in done:
                done.add(id(node))
                ordered.append(node)
            continue
        begun.add(id(node))
        asked = (makers[name] for name in reversed(_taken(node)) if name in makers)
        waiting += [maker for maker in asked if id(maker) not in begun]
    copies = [type(node).FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(copies)


def _settle_twins(graph: Any) -> None:
    """Of two outputs that are one value (an Identity of the other), the first is the value; and no dim has a name."""
    places = {tensor.name: place for place, tensor in enumerate(graph.output)}
    for node in graph.node:
        if node.op_type == "Identity" and places.get(node.output[0], 1 << 30) < places.get(node.input[0], -1):
            first, second = (graph.output[places[name]] for name in (node.output[0], node.input[0]))
            first.name, second.name = second.name, first.name
            places[first.name], places[second.name] = places[second.name], places[first.name]
    for tensor in (*graph.input, *graph.output):
        for dim in tensor.type.tensor_type.shape.dim:
            dim.ClearField("dim_param")


def _taken(node: Any) -> list[str]:
    """The names that it needs, also those that the graphs inside it take from outside."""
    return [*node.input, *(name for _, inner in _graphs(node) for name in _from_outside(inner))]


def _from_outside(graph: Any) -> list[str]:
    own = {tensor.name for tensor in (*graph.input, *graph.initializer)}
    own |= {name for node in graph.node for name in node.output}
    asked = [name for node in graph.node for name in _taken(node)] + [tensor.name for tensor in graph.output]
    return [name for name in dict.fromkeys(asked) if name and name not in own]


def _rename(graph: Any, outer: dict[str, str], prefix: str, kept: set[str]) -> None:
    """``kept`` are the names that stay; a name that begins with a slash is none of a user's."""
    names = dict(outer) | {name: name for name in kept}
    for number, tensor in enumerate(graph.input):
        names[tensor.name] = f"{prefix}/input_{number}" if prefix else tensor.name
        tensor.name = names[tensor.name]
    constants = _Constants(graph, prefix, kept)
    for number, node in enumerate(graph.node):
        for name in _taken(node):
            constants.use(name, names)
        node.name = f"{prefix}/{node.op_type}_{number}"
        node.ClearField("doc_string")
        if not node.domain:
            node.ClearField("domain")
        for place, name in enumerate(node.output):
            if name and name not in kept:
                names[name] = f"{node.name}_{place}" if place else node.name
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
        attributes = sorted(node.attribute, key=lambda attribute: str(attribute.name))
        copies = [type(one).FromString(one.SerializeToString()) for one in attributes]
        del node.attribute[:]
        node.attribute.extend(copies)
        for name, inner in _graphs(node):
            _rename(inner, names, f"{node.name}/{name}", set())
    for tensor in graph.output:
        constants.use(tensor.name, names)
        tensor.name = names.get(tensor.name, tensor.name)
    constants.replace()
    graph.name = prefix or "model"
    del graph.value_info[:], graph.quantization_annotation[:]


class _Constants:
    """The initializers of a graph, in the order of their first use."""

    def __init__(self, graph: Any, prefix: str, kept: set[str]) -> None:
        self._graph, self._prefix, self._kept = graph, prefix, kept
        self._given = {tensor.name: tensor for tensor in graph.initializer}
        self._used: dict[bytes, Any] = {}

    def use(self, name: str, names: dict[str, str]) -> None:
        """Give it a name, that of another one with the same content where there is one."""
        tensor = self._given.pop(name, None)
        if tensor is None:
            return
        copy = type(tensor).FromString(tensor.SerializeToString())
        copy.name, copy.doc_string = "", ""
        key = copy.SerializeToString(deterministic=True)
        if name in self._kept:
            copy.name, key = name, key + name.encode()
        found = self._used.setdefault(key, copy)
        found.name = found.name or f"{self._prefix}/constant_{len(self._used) - 1}"
        names[name] = found.name

    def replace(self) -> None:
        del self._graph.initializer[:]
        self._graph.initializer.extend(self._used.values())
