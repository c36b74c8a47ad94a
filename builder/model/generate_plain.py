"""Golden cases for a plain model where the directory has none: the same texts and image files on every machine."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

from builder.model.generate import NO_SAMPLES, Samples, generate_cases
from builder.model.golden import Array, GoldenCase
from builder.model.interface import Interface
from builder.model.manifest import ModelManifest

_TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "",
    "Größe und Füße: naïve café, señor Ångström.",
    "Быстрая коричневая лиса прыгает через ленивую собаку.",
    "敏捷的棕色狐狸跳过了懒狗。素早い茶色の狐。빠른 갈색 여우.",
    "السلام عليكم שלום עולם नमस्ते दुनिया",
    "e\u0301 \u200d👩‍🔬 🇪🇺 \t \u00a0 ﬁ ½ 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 <b>&amp;</b> [MASK] </s> http://a.example/?q=1#x 3.14e-5",
)
_LONG = " ".join(f"Sentence {number} of a text that is longer than any model reads." for number in range(400))
_IMAGES = (
    (("L", 37, 91), ("RGBA", 128, 64)),
    (("RGB", 64, 48),),
    tuple(("RGB", 96, 96) for _ in range(7)),
)
_CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
_COLOUR_TYPES = {"L": 0, "RGB": 2, "RGBA": 6}
_STORED = 65535


def generate_plain_cases(
    interface: Interface, manifest: ModelManifest, samples: Samples = NO_SAMPLES
) -> tuple[GoldenCase, ...]:
    """Texts in many scripts, an empty and a very long one; PNG files of several sizes and modes; for a handler's own
    inputs, values as for tensors. Without outputs, deterministic in its arguments."""
    step = interface.before["step"]
    if step == "tokenize":
        return tuple(_cases(interface, _text_batches(interface, samples)))
    if step == "image":
        words = np.random.PCG64(manifest.golden.seed)
        batches = ([png(_pixels(words, *size), size[0]) for size in sizes] for sizes in _image_sizes(interface))
        return tuple(_cases(interface, batches))
    return generate_cases(interface.signature, manifest, samples)


def _cases(interface: Interface, batches: Iterator[list[bytes]]) -> Iterator[GoldenCase]:
    for number, items in enumerate(batches):
        array = np.empty(len(items), np.object_)
        array[:] = items
        yield GoldenCase(name=f"generated-{number + 1}", inputs={interface.before["input"]: array}, outputs={})


def _text_batches(interface: Interface, samples: Samples) -> Iterator[list[bytes]]:
    """Of 1, 7, 2 and 1. An empty text is never alone: not every tokenizer makes a token of it."""
    own = [text for text in samples.get(interface.before["input"], ()) if isinstance(text, bytes)]
    yield [_TEXTS[0].encode()]
    yield [text.encode() for text in _TEXTS]
    yield [_TEXTS[2].encode(), _LONG.encode()] if interface.before.get("truncate", True) else [b"a", b"A short text."]
    if own:
        yield own


def _image_sizes(interface: Interface) -> Iterator[Sequence[tuple[str, int, int]]]:
    """Batches are of one size where the model's own resizing does not make them so."""
    before = interface.before
    same = before.get("crop") is not None or "height" in (before.get("resize") or {})
    for sizes in _IMAGES:
        yield from [sizes] if same or len(set(sizes)) == 1 else [(size,) for size in sizes]


def _pixels(words: np.random.PCG64, mode: str, width: int, height: int) -> Array:
    """A gradient with noise on it: something that resizing does not level out."""
    channels = _CHANNELS[mode]
    noise = np.asarray(words.random_raw(height * width * channels), np.uint64) >> np.uint64(58)
    rows, columns, planes = np.ogrid[:height, :width, :channels]
    slope = (rows * 191 // height + columns * (64 + 31 * planes) // width) % 192
    return np.asarray(slope + noise.reshape(height, width, channels).astype(np.int64), np.uint8)


def png(pixels: Array, mode: str) -> bytes:
    """A PNG (RFC 2083) with stored blocks (RFC 1951), so that its bytes do not depend on a version of zlib."""
    height, width = pixels.shape[:2]
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1).tobytes()
    blocks = [lines[start : start + _STORED] for start in range(0, len(lines), _STORED)]
    body = b"".join(
        struct.pack("<BHH", number == len(blocks) - 1, len(block), len(block) ^ 0xFFFF) + block
        for number, block in enumerate(blocks)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[mode], 0, 0, 0)
    content = b"\x78\x01" + body + struct.pack(">I", zlib.adler32(lines))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
