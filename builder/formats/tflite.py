"""TensorFlow Lite files (tensorflow/lite/schema/schema.fbs): the custom operators that they name.

Those that begin with Flex are operations of TensorFlow itself, which its interpreter runs as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from builder.errors import UnsupportedModel
from builder.formats.tensorflow_ops import reaches_out, writes_checkpoints
from builder.model.source import Detection, ModelSource

_OPERATOR_CODES, _CUSTOM_CODE = 1, 1
"""The places of the fields in the tables Model and OperatorCode."""


class TFLiteUnreadable(UnsupportedModel):
    code = "tflite-unreadable"
    message = "{path} is not a whole TensorFlow Lite file: {reason}"
    hint = "it was cut off; convert it again with tf.lite.TFLiteConverter, or fetch it again"


def outward_operators(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """The operations of TensorFlow in the file that reach files or code. Raises TFLiteUnreadable."""
    try:
        names = tuple(_custom_operators(source.locate(found.entry).read_bytes()))
    except (struct.error, IndexError) as error:
        raise TFLiteUnreadable(path=found.entry, reason=error) from error
    flex = (name.removeprefix("Flex") for name in names if name.startswith("Flex"))
    return tuple(dict.fromkeys(op for op in flex if reaches_out(op) or writes_checkpoints(op)))


def _custom_operators(content: bytes) -> Iterator[str]:
    """Through the tables of the FlatBuffer (flatbuffers.dev, internals)."""
    codes = _field(content, _number(content, 0), _OPERATOR_CODES)
    if codes is None:
        return
    vector = codes + _number(content, codes)
    for index in range(_number(content, vector)):
        place = vector + 4 + 4 * index
        name = _field(content, place + _number(content, place), _CUSTOM_CODE)
        if name is not None:
            start = name + _number(content, name)
            yield content[start + 4 : start + 4 + _number(content, start)].decode(errors="replace")


def _field(content: bytes, table: int, index: int) -> int | None:
    """Where the field lies; None where the table leaves it out."""
    (back,) = struct.unpack_from("<i", content, table)
    places = table - back
    if 4 + 2 * index >= struct.unpack_from("<H", content, places)[0]:
        return None
    offset = int(struct.unpack_from("<H", content, places + 4 + 2 * index)[0])
    return table + offset if offset else None


def _number(content: bytes, place: int) -> int:
    return int(struct.unpack_from("<I", content, place)[0])
