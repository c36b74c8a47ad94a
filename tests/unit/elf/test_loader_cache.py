"""The loader's cache: what is written is found as glibc searches, and read back; what is no cache is refused."""

from __future__ import annotations

import struct
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.elf.loader_cache import BrokenLoaderCache, loader_cache, read_loader_cache

NAMES = (
    "ld-linux-x86-64.so.2",
    "libc.so.6",
    "libcublas.so.13",
    "libcublasLt.so.13",
    "libcudart.so.9",
    "libcudart.so.13",
    "libcudnn.so.9",
    "libm.so.6",
)


def compared(left: bytes, right: bytes) -> int:
    """``_dl_cache_libcmp`` of glibc's elf/dl-cache.c, step by step as there."""
    left, right, a, b = left + b"\0", right + b"\0", 0, 0
    while left[a]:
        if left[a : a + 1].isdigit():
            if not right[b : b + 1].isdigit():
                return 1
            one = two = 0
            while left[a : a + 1].isdigit():
                one, a = one * 10 + left[a] - 48, a + 1
            while right[b : b + 1].isdigit():
                two, b = two * 10 + right[b] - 48, b + 1
            if one != two:
                return one - two
        elif right[b : b + 1].isdigit():
            return -1
        elif left[a] != right[b]:
            return left[a] - right[b]
        else:
            a, b = a + 1, b + 1
    return left[a] - right[b]


def found(content: bytes, name: str) -> str | None:
    """What the loader finds: a binary search over the entries, then back to the first of equals (``search_cache``)."""
    (count,) = struct.unpack_from("<I", content, 20)

    def text(row: int, field: int) -> bytes:
        (start,) = struct.unpack_from("<I", content, 48 + 24 * row + 4 * field)
        return content[start : content.index(b"\0", start)]

    left, right = 0, count - 1
    while left <= right:
        middle = (left + right) // 2
        order = compared(name.encode(), text(middle, 1))
        if order == 0:
            while middle > 0 and compared(name.encode(), text(middle - 1, 1)) == 0:
                middle -= 1
            return text(middle, 2).decode()
        left, right = (middle + 1, right) if order < 0 else (left, middle - 1)
    return None


def pairs(*names: str, directory: str = "/opt/lib") -> list[tuple[str, PurePosixPath]]:
    return [(name, PurePosixPath(directory, name)) for name in names]


def test_a_library_is_found_by_its_name() -> None:
    content = loader_cache(pairs(*NAMES), "amd64")
    assert [found(content, name) for name in NAMES] == [f"/opt/lib/{name}" for name in NAMES]
    assert found(content, "libcudart.so.12") is None


def test_the_order_given_does_not_matter_but_for_one_name_twice() -> None:
    assert loader_cache(pairs(*NAMES), "amd64") == loader_cache(pairs(*reversed(NAMES)), "amd64")
    first, second = pairs("libz.so.1", directory="/first"), pairs("libz.so.1", directory="/second")
    assert found(loader_cache([*first, *second], "amd64"), "libz.so.1") == "/first/libz.so.1"
    assert found(loader_cache([*second, *first], "amd64"), "libz.so.1") == "/second/libz.so.1"


@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_what_is_written_is_read(architecture: str) -> None:
    other = "arm64" if architecture == "amd64" else "amd64"
    entries = read_loader_cache(loader_cache(pairs(*NAMES), architecture))
    assert sorted((entry.soname, entry.path) for entry in entries) == sorted(pairs(*NAMES))
    assert all(entry.is_for(architecture) and not entry.is_for(other) for entry in entries)


def test_an_empty_cache() -> None:
    assert read_loader_cache(loader_cache([], "amd64")) == ()


def test_names_that_end_others_are_stored_once() -> None:
    alone = loader_cache(pairs("libz.so.1", directory="/opt"), "amd64")
    assert alone.count(b"libz.so.1\0") == 1
    assert [entry.soname for entry in read_loader_cache(alone)] == ["libz.so.1"]


NAME = st.from_regex(r"lib[a-c]{0,2}[.-]?(so)?[.]?[0-9]{0,3}(\.[0-9]{1,2})?", fullmatch=True)


@given(st.sets(NAME, max_size=30))
def test_every_name_is_found_whatever_the_names_are(names: set[str]) -> None:
    content = loader_cache(pairs(*names), "amd64")
    for name in names:
        path = found(content, name)
        assert path and compared(path.removeprefix("/opt/lib/").encode(), name.encode()) == 0
    assert {entry.soname for entry in read_loader_cache(content)} == names


def test_a_cache_that_begins_with_the_old_format_is_read() -> None:
    new = loader_cache(pairs(*NAMES), "amd64")
    old = b"ld.so-1.7.0\0" + struct.pack("<I", 3) + bytes(12 * 3)
    assert read_loader_cache(old + bytes(-len(old) % 8) + new) == read_loader_cache(new)


def test_entries_for_some_processors_only_are_left_out() -> None:
    content = bytearray(loader_cache(pairs("libm.so.6", "libz.so.1"), "amd64"))
    struct.pack_into("<Q", content, 48 + 16, 1 << 62)
    assert len(read_loader_cache(bytes(content))) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"ld.so-1.7.0\0",
        bytes(100),
        loader_cache(pairs(*NAMES), "amd64")[:60],
        loader_cache(pairs(*NAMES), "amd64")[:300],
        loader_cache(pairs("libz.so.1"), "amd64")[:-3],
    ],
)
def test_what_is_no_cache_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenLoaderCache, match="is not a cache"):
        read_loader_cache(content)
