"""The parameters of an inference model of PaddlePaddle: tensors one after the other (paddle/phi/core/framework/
dense_tensor_tostream.cc).

Paddle itself does not see that the last one was cut in two, and computes with what is in memory.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import IO

from builder.formats.protobuf_wire import numbers_of

_SIZES = {0: 1, 1: 2, 2: 4, 3: 8, 4: 2, 5: 4, 6: 8, 20: 1, 21: 1, 22: 2, 23: 8, 24: 16, 32: 1, 33: 1}
"""Bytes of an element by VarType.Type of framework.proto."""
_LONGEST = 1 << 16
"""Bytes of a description: a type and some dims."""


def problem_of(path: Path) -> str:
    """What is wrong with the file, empty where every tensor is whole."""
    size = path.stat().st_size
    with path.open("rb") as file:
        number = 0
        while file.tell() < size:
            number += 1
            try:
                _skip(file)
            except (struct.error, ValueError, LookupError, OverflowError, OSError) as error:
                return f"tensor {number} is none that Paddle writes ({error})"
            if file.tell() > size:
                return f"tensor {number} ends {file.tell() - size} bytes behind the end of the file"
    return ""


def _skip(file: IO[bytes]) -> None:
    """Version (4), levels of detail (8) with a size (8) and content each, version (4), description with its size (4)
    as a TensorDesc with data_type (1) and dims (2), and the elements."""
    _, levels = struct.unpack("<IQ", file.read(12))
    for _ in range(levels):
        (length,) = struct.unpack("<Q", file.read(8))
        file.seek(length, 1)
    _, length = struct.unpack("<Ii", file.read(8))
    if not 0 < length < _LONGEST:
        raise ValueError(f"its description has {length} bytes")
    described = memoryview(file.read(length))
    (kind,) = numbers_of(described, 1)
    file.seek(_SIZES[kind] * math.prod(numbers_of(described, 2)), 1)
