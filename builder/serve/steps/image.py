"""Image files to pixels, as the image processors of transformers make them with Pillow."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from .arrays import Array, contents
from .faults import InputRefused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS = 50_000_000
"""Of one image, looked at before anything is unpacked: a file of some kilobytes may claim to be gigabytes of pixels."""

_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_MODES = {"RGB": "RGB", "BGR": "RGB", "L": "L"}
Image.MAX_IMAGE_PIXELS = None  # ours is looked at instead, and refuses where Pillow only warns


class Decode:
    """Opens, turns upright, resizes, crops, scales and normalises, in this order; of an animation the first image."""

    batched = True

    def __init__(self, said: dict[str, Any], folder: Path, **_: object) -> None:
        self._input: str = said["input"]
        self._feed: str = said["feeds"]
        self._channels: str = said.get("channels", "RGB")
        self._resize: dict[str, int] | None = said.get("resize")
        self._resample = _RESAMPLE[said.get("resample", "bilinear")]
        self._crop: dict[str, int] | None = said.get("crop")
        self._rescale: float | None = said.get("rescale")
        self._mean = np.array(said.get("mean") or [0.0], np.float32)
        self._std = np.array(said.get("std") or [1.0], np.float32)
        self._axes = (2, 0, 1) if said.get("layout", "NCHW") == "NCHW" else (0, 1, 2)

    def feeds(self, inputs: dict[str, Array]) -> tuple[dict[str, Array], None]:
        pixels = [self._pixels(number, file) for number, file in enumerate(contents(inputs[self._input]))]
        for number, one in enumerate(pixels):
            if one.shape != pixels[0].shape:
                text = f"is {_size(one)} after the model's own resizing, the first one {_size(pixels[0])}"
                raise InputRefused(f"input '{self._input}': image {number} {text}; send them one by one")
        return {self._feed: np.stack(pixels).transpose(0, *(1 + axis for axis in self._axes))}, None

    def _pixels(self, number: int, file: bytes) -> Array:
        where = f"input '{self._input}': element {number}"
        try:
            with warnings.catch_warnings(), Image.open(io.BytesIO(file), formats=FORMATS) as image:
                warnings.simplefilter("ignore")
                if image.width * image.height > MOST_PIXELS:
                    size = f"{image.width} x {image.height}"
                    raise InputRefused(f"{where} has {size} pixels; the most that are taken is {MOST_PIXELS}")
                opened = ImageOps.exif_transpose(image).convert(_MODES[self._channels])
        except UnidentifiedImageError:
            raise InputRefused(f"{where} is not an image file ({', '.join(FORMATS)})") from None
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise InputRefused(f"{where} is a broken image file: {error}") from None
        return self._normal(_cropped(np.asarray(self._resized(opened)), self._crop))

    def _resized(self, image: Image.Image) -> Image.Image:
        if self._resize is None:
            return image
        if "shortest_edge" in self._resize:
            short, long = sorted(image.size)
            edge = self._resize["shortest_edge"]
            sides = (edge, int(edge * long / short))
            size = sides if image.width <= image.height else sides[::-1]
        else:
            size = (self._resize["width"], self._resize["height"])
        return image.resize(size, self._resample)

    def _normal(self, pixels: Array) -> Array:
        shaped = pixels if pixels.ndim == 3 else pixels[:, :, None]
        values = shaped.astype(np.float32)
        if self._rescale is not None:
            # In double, then rounded once: so does transformers.
            values = (shaped.astype(np.float64) * self._rescale).astype(np.float32)
        values = values[:, :, ::-1] if self._channels == "BGR" else values
        return (values - self._mean) / self._std


def _cropped(pixels: Array, crop: dict[str, int] | None) -> Array:
    """The middle; black around it where the image is smaller."""
    if crop is None:
        return pixels
    height, width = crop["height"], crop["width"]
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    if top >= 0 and left >= 0:
        return pixels[top : top + height, left : left + width]
    return _cropped(_padded(pixels, height, width), crop)


def _padded(pixels: Array, height: int, width: int) -> Array:
    """At least that large, with the image where transformers puts it: the odd pixel of black comes first."""
    wanted = (max(height, pixels.shape[0]), max(width, pixels.shape[1]))
    before = [-(-(size - have) // 2) for size, have in zip(wanted, pixels.shape, strict=False)]
    larger = np.zeros((*wanted, *pixels.shape[2:]), pixels.dtype)
    larger[before[0] : before[0] + pixels.shape[0], before[1] : before[1] + pixels.shape[1]] = pixels
    return larger


def _size(pixels: Array) -> str:
    return f"{pixels.shape[1]} x {pixels.shape[0]}"
