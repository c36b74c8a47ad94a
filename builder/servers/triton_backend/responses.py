"""Tensors and answers as Triton's python backend takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

from .batches import Array, Refused


def tensor(name: str, array: Array) -> Any:
    """Text as the bytes that Triton carries, and all in one piece of memory."""
    if array.dtype.kind in "OSU":
        items = np.empty(array.size, object)
        items[:] = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel().tolist()]
        return triton.Tensor(name, items.reshape(array.shape))
    return triton.Tensor(name, np.ascontiguousarray(array))


def success(outputs: Mapping[str, Array]) -> Any:
    """The outputs by name."""
    return triton.InferenceResponse(output_tensors=[tensor(name, array) for name, array in outputs.items()])


def failure(refused: Refused) -> Any:
    """400 to the client where its own tensors are the reason, else 500."""
    code = triton.TritonError.INVALID_ARG if refused.is_input else triton.TritonError.INTERNAL
    return triton.InferenceResponse(output_tensors=[], error=triton.TritonError(str(refused), code))
