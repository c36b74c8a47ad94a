"""The header of a safetensors file (huggingface/safetensors, README: Format): what tensors it has, without them."""

from __future__ import annotations

import json
import math
from pathlib import PurePosixPath

from builder.model.source import ModelSource

_MAX_HEADER = 100_000_000
"""The cap of the library itself."""


def parameters(source: ModelSource, path: PurePosixPath) -> int:
    """How many numbers its tensors hold; 0 for a file that is none."""
    length = int.from_bytes(source.head(path, 8), "little")
    if length > _MAX_HEADER:
        return 0
    try:
        header = json.loads(source.head(path, 8 + length)[8:])
        return sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return 0
