"""Tells skl2onnx which way scikit-learn's trees send a missing value: skl2onnx 1.20 leaves it out but for the
histogram boosters, and onnxruntime then sends all of them to the right.

Stands beside sklearn_worker, which imports it; importing it is all.
"""

from collections.abc import Callable
from typing import Any

from skl2onnx.operator_converters import decision_tree, gradient_boosting, isolation_forest, random_forest


def _with_missing(add: Callable[..., None]) -> Callable[..., None]:
    def add_tree(attr_pairs: dict[str, list[Any]], is_classifier: bool, tree: Any, *rest: Any, **named: Any) -> None:
        add(attr_pairs, is_classifier, tree, *rest, **named)
        to_left = getattr(tree, "missing_go_to_left", None)  # since scikit-learn 1.3
        if to_left is not None:
            attr_pairs["nodes_missing_value_tracks_true"][-tree.node_count :] = [int(left) for left in to_left]

    return add_tree


for _module in (decision_tree, gradient_boosting, isolation_forest, random_forest):
    _module.add_tree_to_attribute_pairs = _with_missing(_module.add_tree_to_attribute_pairs)
