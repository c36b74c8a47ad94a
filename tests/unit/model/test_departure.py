"""Finding the node that departs, on graphs small enough to see it."""

from __future__ import annotations

import numpy as np

from builder.model.departure import Departure, GraphNode, Values, find_departure
from builder.model.golden import Array

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])
W = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.25]])
B = np.array([0.5, -0.5])


def node(operator: str, inputs: str, output: str) -> GraphNode:
    return GraphNode(name=f"n_{output}", operator=operator, inputs=tuple(inputs.split()), outputs=(output,))


NODES = (node("MatMul", "x w", "product"), node("Add", "product b", "sum"), node("Relu", "sum", "y"))


def computed(w: Array, b: Array) -> dict[str, Array]:
    product = X @ w
    return {"product": product, "sum": product + b, "y": np.maximum(product + b, 0)}


def found(w: Array, b: Array, *, source: tuple[str, ...] = ("sum", "y"), weights: bool = True) -> Departure | None:
    """With a source that computes product and sum in one."""
    own = computed(W, B)
    values = Values(
        graph=computed(w, b),
        weights={"w": w, "b": b},
        source=[X, *(own[name] for name in source)],
        source_weights=[W.T, B] if weights else [],
    )
    return find_departure(NODES, values)


def changed(array: Array) -> Array:
    other = array.copy()
    other.flat[0] += 1
    return other


def test_nothing_departs_from_itself() -> None:
    assert found(W, B) is None
    assert found(W + 1e-9, B) is None


def test_a_broken_weight() -> None:
    departure = found(changed(W), B)
    assert departure is not None
    assert (departure.node.operator, departure.weight) == ("MatMul", "w")
    assert str(departure).startswith("MatMul 'n_product', whose weight 'w' is none of the source's (its output is ")


def test_a_broken_bias_is_told_from_the_product_that_the_source_does_not_show() -> None:
    departure = found(W, changed(B))
    assert departure is not None
    assert (departure.node.operator, departure.weight) == ("Add", "b")
    departure = found(W, changed(B), source=("product", "sum", "y"))
    assert departure is not None
    assert departure.node.operator == "Add"


def test_without_weights_nothing_is_said_of_them() -> None:
    departure = found(changed(W), B, weights=False)
    assert departure is not None
    assert (departure.node.operator, departure.weight) == ("MatMul", "")


def test_a_small_departure_is_found_by_a_closer_look() -> None:
    departure = found(W * (1 + 5e-5), B)
    assert departure is not None
    assert departure.node.operator == "MatMul"


def test_a_layout_of_another_shape_is_the_same_value() -> None:
    values = Values(graph={"y": X.reshape(3, 2)}, weights={}, source=[X], source_weights=[])
    assert find_departure((node("Reshape", "x", "y"),), values) is None


def test_values_that_say_nothing_are_no_departure() -> None:
    graph = {"a": np.array([1, 2, 3]), "b": np.ones(4), "c": np.array([np.nan, 1.0])}
    nodes = tuple(node("Op", "x", name) for name in graph)
    assert find_departure(nodes, Values(graph=graph, weights={}, source=[X], source_weights=[])) is None
