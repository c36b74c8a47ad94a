"""Golden cases: inputs with the outputs that they must give, and how far an output may be off.

Cases are kept as ``.npz`` files whose arrays are named ``input:NAME`` and ``output:NAME`` (see ``write_case`` and
``read_case``); the same files travel in the image and are replayed against it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """An output passes where ``abs(actual - expected) <= absolute + relative * abs(expected)``."""

    absolute: float = 1e-5
    relative: float = 1e-4


@dataclass(frozen=True, kw_only=True)
class GoldenCase:
    """A named case. ``outputs`` is empty until a reference has answered it; ``origin`` is the file that it was read
    from, relative to the model directory, and empty for a generated case."""

    name: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    origin: str = ""


def write_case(case: GoldenCase) -> bytes:
    """The case as .npz bytes that depend on the case alone (fixed member order and times)."""
    out = io.BytesIO()
    members = {f"input:{k}": v for k, v in case.inputs.items()} | {f"output:{k}": v for k, v in case.outputs.items()}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            content = io.BytesIO()
            np.lib.format.write_array(content, _storable(members[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), content.getvalue())
    return out.getvalue()


def read_case(path: Path) -> GoldenCase:
    """The inverse of ``write_case``. Never unpickles (numpy raises ValueError instead)."""
    with np.load(path, allow_pickle=False) as members:
        inputs = {name.removeprefix("input:"): members[name] for name in members.files if name.startswith("input:")}
        outputs = {name.removeprefix("output:"): members[name] for name in members.files if name.startswith("output:")}
    return GoldenCase(name=path.stem, inputs=inputs, outputs=outputs)


def _storable(array: Array) -> Array:
    """Strings as fixed-width bytes or unicode, since an object array could only be pickled."""
    if array.dtype == object:
        items = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
        array = np.array(items, dtype=np.bytes_).reshape(array.shape)
    return np.asarray(array, order="C")  # ascontiguousarray would make a vector of a scalar
