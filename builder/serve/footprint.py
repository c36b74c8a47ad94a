"""What the process need not hold in memory once it serves.

Starting runs much code a single time: onnxruntime registers every operator it knows. Those pages are files' own, so the
kernel can read them again whenever somebody needs one; but it takes them away only when memory is short.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from pathlib import Path

_DONT_NEED = 4  # MADV_DONTNEED, madvise(2)


def let_go_of_starting() -> None:
    """Lets go of the code of all libraries; what is used again comes back page by page. Measured for a tiny model: half
    a millisecond, and 15 MB of 77 less, after a load of 20,000 requests too."""
    try:
        mappings = Path("/proc/self/maps").read_text().splitlines()
        libc = ctypes.CDLL(None)
    except OSError:
        return
    for start, end in code(mappings):
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONT_NEED)


def code(mappings: Iterable[str]) -> Iterator[tuple[int, int]]:
    """Spans of code that comes from files (proc(5), /proc/pid/maps). Nobody can have written to them: nothing is
    lost."""
    for line in mappings:
        span, rights, *rest = line.split(maxsplit=5)
        if rights == "r-xp" and len(rest) == 4 and rest[3].startswith("/"):
            start, end = span.split("-")
            yield int(start, 16), int(end, 16)
