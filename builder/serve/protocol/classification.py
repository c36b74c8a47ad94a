"""Triton's classification extension: the highest values of an output as text, ``VALUE:INDEX``, instead of the output.

Values are written as C++ writes them (``std::to_string``), as Triton does: six digits behind the point, or none.
"""

from __future__ import annotations

import numpy as np

from .tensors import Array


def highest(array: Array, *, count: int, batched: bool) -> Array:
    """The ``count`` highest numbers, highest first and of equal ones the first first: of each row of a batch, or of
    all."""
    rows = len(array) if batched else 1
    flat = array.reshape(rows, array.size // rows if rows else 0)
    width = flat.shape[1]
    order = width - 1 - np.argsort(flat[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]
    form = "{:f}:{}" if array.dtype.kind == "f" else "{}:{}"
    classes = np.empty(order.shape, object)
    for row, indices in enumerate(order.tolist()):
        classes[row] = [form.format(flat[row, index].item(), index) for index in indices]
    return classes if batched else classes[0]
