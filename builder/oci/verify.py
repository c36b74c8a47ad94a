"""Reading blobs so that wrong bytes are never taken for right ones: digest, size and limits are checked on the way.

A consumer of these iterators may use what it got only once the iterator has ended without an error.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from builder.errors import IntegrityError
from builder.oci.descriptor import GZIP_LAYER_TYPES, LAYER_TAR, Descriptor

CHUNK = 1 << 20
MOST_JSON = 8 << 20
"""No manifest, index or config is larger (containerd's own limit)."""

MOST_UNPACKED = 1 << 40
"""No layer is larger once it is uncompressed."""


class WrongBytes(IntegrityError):
    code = "wrong-bytes"
    message = "the bytes of {digest} are not its own: {difference}"
    hint = "the image is damaged; build or pull it again"


class TooLarge(IntegrityError):
    code = "too-large"
    message = "{what} is larger than {limit} bytes"
    hint = "no honest image is like that; do not use it"


class UnreadableLayer(IntegrityError):
    code = "unreadable-layer"
    message = "a layer cannot be read: {reason}"
    hint = "the image is damaged, or stored in a way that mbuild does not read; use plain tar or gzip layers"


def verified(stream: IO[bytes], descriptor: Descriptor) -> Iterator[bytes]:
    """The chunks of ``stream``; raises WrongBytes as soon as it is longer, and at its end when it differs."""
    return verified_chunks(iter(lambda: stream.read(CHUNK), b""), descriptor)


def verified_chunks(chunks: Iterable[bytes], descriptor: Descriptor) -> Iterator[bytes]:
    """The same for bytes that come in chunks already."""
    hasher, left = hashlib.sha256(), descriptor.size
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise WrongBytes(digest=descriptor.digest, difference=f"there are more than {descriptor.size}")
        hasher.update(chunk)
        yield chunk
    if left:
        raise WrongBytes(digest=descriptor.digest, difference=f"{left} of {descriptor.size} are missing")
    if hasher.hexdigest() != descriptor.digest.hex:
        raise WrongBytes(digest=descriptor.digest, difference=f"they are sha256:{hasher.hexdigest()}")


def read_verified(stream: IO[bytes], descriptor: Descriptor, what: str) -> bytes:
    """A small blob as a whole; raises TooLarge before it reads one over ``MOST_JSON``, and WrongBytes."""
    if descriptor.size > MOST_JSON:
        raise TooLarge(what=what, limit=MOST_JSON)
    return b"".join(verified(stream, descriptor))


def uncompressed(chunks: Iterable[bytes], media_type: str) -> Iterator[bytes]:
    """The tar inside a layer's stored bytes. Raises UnreadableLayer (zstd is not read here) and TooLarge."""
    if media_type == LAYER_TAR:
        yield from chunks
    elif media_type in GZIP_LAYER_TYPES:
        yield from _limited(_gunzipped(chunks))
    else:
        raise UnreadableLayer(reason=f"its media type is {media_type}")


def _limited(chunks: Iterable[bytes]) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > MOST_UNPACKED:
            raise TooLarge(what="a layer", limit=MOST_UNPACKED)
        yield chunk


def _gunzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Joins the members of a gzip stream (RFC 1952, 2.2); at most ``CHUNK`` bytes at a time."""
    member = zlib.decompressobj(wbits=31)
    started = False
    try:
        for chunk in chunks:
            rest = chunk
            while rest:
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                started = True
                if out := member.decompress(rest, CHUNK):
                    yield out
                rest = member.unused_data if member.eof else member.unconsumed_tail
        while not member.eof and (out := member.decompress(member.unconsumed_tail, CHUNK)):
            yield out
    except zlib.error as error:
        raise UnreadableLayer(reason=f"its gzip stream is broken ({error})") from error
    if started and not member.eof:
        raise UnreadableLayer(reason="its gzip stream is cut short")
