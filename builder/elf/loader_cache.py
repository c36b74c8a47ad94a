"""``/etc/ld.so.cache``: where the loader finds a library by its name, without looking through directories (ld.so(8)).

Written here, so that no ``ldconfig`` runs in an image, for one architecture, in the format "glibc-ld.so.cache1.1" that
glibc reads since 2.2 and writes alone since 2.32. The bytes are those of ``ldconfig``, but for its last section, which
only tells the version of ldconfig. Libraries for some processors (glibc-hwcaps) are not entered.

Sources: glibc's sysdeps/generic/dl-cache.h (layout, flags), elf/cache.c (order of entries and strings) and
elf/dl-cache.c (``_dl_cache_libcmp``, by whose order the loader searches).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.errors import IntegrityError

PLACE = PurePosixPath("/etc/ld.so.cache")
"""Where the loader looks for it (``SYSCONFDIR`` of all distributions)."""

_MAGIC = b"glibc-ld.so.cache1.1"
_OLD_MAGIC = b"ld.so-1.7.0"
_OLD_HEADER, _OLD_ENTRY, _ALIGNMENT = 16, 12, 8
_LITTLE_ENDIAN = 2
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_LIBC6 = 0x0003
_FLAGS = {"amd64": _LIBC6 | 0x0300, "arm64": _LIBC6 | 0x0A00}
_RUNS = re.compile(rb"[0-9]+|[^0-9]")


class BrokenLoaderCache(IntegrityError):
    code = "broken-loader-cache"
    message = "{path} is not a cache that glibc's loader reads: {reason}"
    hint = "make it again with ldconfig, or leave it out of the image"


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedLibrary:
    """An entry: ``path`` is the file that a program gets which asks for ``soname``; ``flags`` say for which
    architecture (dl-cache.h)."""

    soname: str
    path: PurePosixPath
    flags: int

    def is_for(self, architecture: str) -> bool:
        return self.flags == _FLAGS[architecture]


def loader_cache(libraries: Iterable[tuple[str, PurePosixPath]], architecture: str) -> bytes:
    """The cache of (soname, path) pairs for ``amd64`` or ``arm64``. Of two paths for one name the loader takes the
    first: give them in the order of /etc/ld.so.conf, then /lib and /usr/lib."""
    pairs = sorted(libraries, key=lambda pair: search_key(pair[0]), reverse=True)
    ordered = [(soname.encode(), str(path).encode()) for soname, path in pairs]
    texts, places = _shared_tails({text for pair in ordered for text in pair})
    start = _HEADER.size + _ENTRY.size * len(ordered)
    flags = _FLAGS[architecture]
    entries = (_ENTRY.pack(flags, start + places[soname], start + places[path], 0, 0) for soname, path in ordered)
    return _HEADER.pack(_MAGIC, len(ordered), len(texts), _LITTLE_ENDIAN, 0) + b"".join(entries) + texts


def read_loader_cache(content: bytes) -> tuple[CachedLibrary, ...]:
    """The entries in their order, those for glibc-hwcaps left out. Raises BrokenLoaderCache."""
    start = _start(content)
    try:
        magic, count, _, _, _ = _HEADER.unpack_from(content, start)
        if magic != _MAGIC:
            raise BrokenLoaderCache(path=PLACE, reason="it starts with other bytes")
        rows = [_ENTRY.unpack_from(content, start + _HEADER.size + _ENTRY.size * row) for row in range(count)]
    except struct.error as error:
        raise BrokenLoaderCache(path=PLACE, reason="it is cut short") from error
    return tuple(
        CachedLibrary(
            soname=_text(content, start + key), path=PurePosixPath(_text(content, start + value)), flags=flags
        )
        for flags, key, value, _, hwcap in rows
        if not hwcap
    )


def _start(content: bytes) -> int:
    """Where the entries in the new format begin: behind those in the old format, in caches that have both."""
    if not content.startswith(_OLD_MAGIC) or len(content) < _OLD_HEADER:
        return 0
    count = int.from_bytes(content[_OLD_HEADER - 4 : _OLD_HEADER], "little")
    end = _OLD_HEADER + _OLD_ENTRY * count
    return -(-end // _ALIGNMENT) * _ALIGNMENT


def _text(content: bytes, start: int) -> str:
    end = content.find(b"\0", start)
    if end < 0:
        raise BrokenLoaderCache(path=PLACE, reason="a name has no end")
    return content[start:end].decode(errors="replace")


def search_key(name: str) -> tuple[tuple[int, int], ...]:
    """The order of ``_dl_cache_libcmp``: runs of digits compare as numbers, and come behind every other character."""
    return tuple((1, int(run)) if run.isdigit() else (0, run[0]) for run in _RUNS.findall(name.encode()))


def _shared_tails(texts: set[bytes]) -> tuple[bytes, dict[bytes, int]]:
    """The texts, each ended by a zero byte, and where each begins: one that ends another lies inside it."""
    table = bytearray()
    places = {}
    previous = None
    for text in sorted(texts, key=lambda text: text[::-1], reverse=True):
        if previous is not None and previous.endswith(text):
            places[text] = len(table) - 1 - len(text)
        else:
            places[text] = len(table)
            table += text + b"\0"
            previous = text
    return bytes(table), places
