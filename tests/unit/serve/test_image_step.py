"""Image files to pixels: sizes, crops, orientation and modes, by numbers that can be computed by hand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from builder.serve.steps.faults import InputRefused
from builder.serve.steps.image import Decode


def decoded(image: Image.Image | bytes, form: str = "PNG", **said: Any) -> Any:
    """The first image of the batch that the step makes."""
    content = image if isinstance(image, bytes) else saved(image, form)
    step = Decode({"step": "image", "input": "image", "feeds": "x", **said}, Path())
    files = np.empty(1, object)
    files[0] = content
    return step.feeds({"image": files})[0]["x"][0]


def saved(image: Image.Image, form: str = "PNG", **more: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **more)
    return file.getvalue()


def counted(width: int, height: int) -> Image.Image:
    """Each pixel has its column, its row and 7."""
    rows, columns = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([columns, rows, np.full_like(rows, 7)], axis=-1).astype(np.uint8))


def test_channels_come_first_and_numbers_are_scaled() -> None:
    pixels = decoded(counted(5, 3), rescale=0.5, mean=[1.0, 0.0, 0.5], std=[1.0, 2.0, 1.0])
    assert pixels.shape == (3, 3, 5)
    assert pixels.dtype == np.float32
    assert pixels[0, 0].tolist() == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert pixels[1, :, 0].tolist() == [0.0, 0.25, 0.5]
    assert pixels[2].min() == pixels[2].max() == 3.0


def test_layout_and_order_of_channels() -> None:
    assert decoded(counted(5, 3), layout="NHWC").shape == (3, 5, 3)
    assert decoded(counted(5, 3), channels="BGR")[0].max() == 7
    assert decoded(counted(5, 3), channels="L").shape == (1, 3, 5)


@pytest.mark.parametrize(("size", "expected"), [((40, 20), (20, 10)), ((20, 41), (10, 20)), ((30, 30), (10, 10))])
def test_the_shorter_edge_gets_its_size(size: tuple[int, int], expected: tuple[int, int]) -> None:
    height, width = decoded(counted(*size), resize={"shortest_edge": 10}).shape[1:]
    assert (width, height) == expected


def test_the_crop_is_the_middle() -> None:
    pixels = decoded(counted(9, 6), crop={"height": 2, "width": 4})
    assert pixels[0, 0].tolist() == [2.0, 3.0, 4.0, 5.0]
    assert pixels[1, :, 0].tolist() == [2.0, 3.0]


def test_around_an_image_that_is_smaller_it_is_black() -> None:
    pixels = decoded(counted(3, 9), crop={"height": 4, "width": 6})
    assert pixels[2, 0].tolist() == [0.0, 0.0, 7.0, 7.0, 7.0, 0.0]
    assert pixels[1, :, 3].tolist() == [2.0, 3.0, 4.0, 5.0]


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    assert decoded(saved(counted(8, 4), "JPEG", exif=exif)).shape == (3, 8, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_three_channels(mode: str) -> None:
    image = Image.new(mode, (4, 2)) if mode == "I;16" else counted(4, 2).convert(mode)
    assert decoded(image, "TIFF" if mode == "CMYK" else "PNG").shape == (3, 2, 4)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_that_is_promised(form: str) -> None:
    assert decoded(counted(6, 5), form).shape == (3, 5, 6)


def test_of_an_animation_the_first_image() -> None:
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    file = saved(first, "GIF", save_all=True, append_images=[second])
    assert decoded(file)[:, 0, 0].tolist() == [255.0, 0.0, 0.0]


def test_other_formats_are_not_even_tried() -> None:
    with pytest.raises(InputRefused, match="element 0 is not an image file"):
        decoded(saved(counted(4, 4), "ICO"))


def test_images_of_two_sizes_where_nothing_makes_them_one() -> None:
    step = Decode({"step": "image", "input": "image", "feeds": "x"}, Path())
    files = np.empty(2, object)
    files[:] = [saved(counted(4, 4)), saved(counted(5, 4))]
    with pytest.raises(InputRefused, match=r"image 1 is 5 x 4 .* the first one 4 x 4"):
        step.feeds({"image": files})
