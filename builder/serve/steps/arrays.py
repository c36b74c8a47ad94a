"""BYTES as Python's strings and bytes, and outputs as the datatypes that were declared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .faults import InputRefused, StepFailed

Array = npt.NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{f"{'U' * (kind == 'u')}INT{8 * size}": np.dtype(f"{kind}{size}") for kind in "iu" for size in (1, 2, 4, 8)},
    **{f"FP{8 * size}": np.dtype(f"f{size}") for size in (2, 4, 8)},
    "BYTES": np.dtype(object),
}


def texts(name: str, array: Array) -> list[str]:
    """Each element as text; raises InputRefused where one is not UTF-8."""
    found = []
    for number, item in enumerate(array.ravel().tolist()):
        try:
            found.append(item if isinstance(item, str) else bytes(item).decode())
        except UnicodeDecodeError:
            raise InputRefused(f"input '{name}': element {number} is not UTF-8") from None
    return found


def contents(array: Array) -> list[bytes]:
    """Each element as bytes."""
    return [item.encode() if isinstance(item, str) else bytes(item) for item in array.ravel().tolist()]


def objects(items: Iterable[object], shape: tuple[int, ...] | None = None) -> Array:
    """An array of BYTES; numpy itself would look into the items."""
    listed = list(items)
    array = np.empty(len(listed), object)
    array[:] = listed
    return array if shape is None else array.reshape(shape)


def empty(declared: dict[str, Any]) -> Array:
    """An output of a batch of none."""
    shape = [dim if isinstance(dim, int) else 0 for dim in declared["shape"]]
    return np.empty([0, *shape[1:]], DTYPES[declared["datatype"]])


def as_declared(name: str, dtype: np.dtype[Any], found: dict[str, Any]) -> Array:
    """An output with the datatype that was declared for it: FP64 becomes FP32, but a number never an integer."""
    if name not in found:
        raise StepFailed(f"there is no output '{name}'; there are {', '.join(map(str, found)) or 'none'}")
    given = found[name]
    array = given if isinstance(given, np.ndarray) else np.asarray(given, object if dtype.kind == "O" else None)
    if array.dtype == dtype:
        return array
    if dtype.kind == "O" and array.dtype.kind in "SU":
        return array.astype(object)
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise StepFailed(f"the output '{name}' is {array.dtype}, declared is {dtype}")
    return array.astype(dtype)
