"""Decodes the example inputs that are no arrays: an image, and sound. Small pure functions over the bytes of a file."""

from __future__ import annotations

import io
import wave

import numpy as np

from builder.model.golden import Array
from builder.model.protocol import TensorProblem

_MAX_PIXELS = 1 << 26
_LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)
"""ITU-R 601-2 in 16 bits, as Pillow turns colours into grey."""


def decode_image(content: bytes) -> Array:
    """The pixels of a PNG or JPEG file as UINT8 [height, width, 3]. Raises TensorProblem."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise TensorProblem(f"it has {image.width} x {image.height} pixels; at most {_MAX_PIXELS} are read")
            return np.asarray(image.convert("RGB"), dtype=np.uint8)
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for a broken PNG
        raise (
            error if isinstance(error, TensorProblem) else TensorProblem(f"it is no PNG or JPEG image: {error}")
        ) from error


def grey(pixels: Array) -> Array:
    """UINT8 [height, width, 1] of UINT8 [height, width, 3]."""
    weighted: Array = (pixels.astype(np.uint32) * _LUMA).sum(axis=-1, keepdims=True)
    return ((weighted + (1 << 15)) >> 16).astype(np.uint8)


def decode_sound(content: bytes) -> Array:
    """The samples of a WAV file (PCM of 8 to 32 bits) as FP32 [samples] in [-1, 1); channels become their mean. Raises
    TensorProblem."""
    try:
        with wave.open(io.BytesIO(content)) as sound:
            width, channels, raw = sound.getsampwidth(), sound.getnchannels(), sound.readframes(sound.getnframes())
    except (wave.Error, EOFError, RuntimeError) as error:
        raise TensorProblem(f"it is no WAV file with PCM samples: {error}") from error
    count = len(raw) // width
    if width == 1:  # unsigned, unlike all others
        numbers = (np.frombuffer(raw, np.uint8).astype(np.int64) - 128) << 24
    else:
        padded = np.zeros((count, 4), np.uint8)
        padded[:, 4 - width :] = np.frombuffer(raw, np.uint8)[: count * width].reshape(count, width)
        numbers = padded.view("<i4").ravel().astype(np.int64)
    frames = numbers[: count - count % channels].reshape(-1, channels)
    mono: Array = frames.mean(axis=1) / 2.0**31
    return mono.astype(np.float32)
