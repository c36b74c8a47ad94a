"""Groups the tensors of a model into chunk files, so that weights which did not change keep their bytes and digest.

The groups depend on the names and sizes of the tensors alone. Tensors are taken in the order of their names, which
keeps those of one part of a network together; a range that is too large is split before the tensor whose name has the
smallest hash in it, and so on (the shape of a treap: it has no history, and a tensor that comes or goes changes only
the group that it belongs to and what lies next to it, at most a group's worth on each side).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CHUNK_BYTES = 64 << 20
"""The most that a group holds, unless it is one tensor or a model needs more than ``MOST_CHUNKS`` of them."""

MOST_CHUNKS = 48
"""Of one model: with base, runtime, server and model layers it stays below 60 layers; engines stop at 127."""

_ROOM = 110
"""Layers for models and their weights in an image of many: engines stop at 127, and a base may have some."""

_ALIGNMENT, _PAGE = 64, 4096
_PAGE_FROM = 64 << 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunk:
    """One chunk file: ``tensors`` are (name, offset in the file), ``size`` in bytes with what aligns them."""

    name: str
    tensors: tuple[tuple[str, int], ...]
    size: int


def share_of_chunks(large: int, layers: int) -> int:
    """How many chunks each of ``large`` models may have in an image with ``layers`` layers for models beside them."""
    return max(1, min(MOST_CHUNKS, (_ROOM - layers) // max(1, large)))


def plan_chunks(sizes: Mapping[str, int], most: int = MOST_CHUNKS) -> tuple[Chunk, ...]:
    """At most ``most`` groups for tensors of these ``sizes`` (bytes by name), in the order of their names."""
    names, limit = sorted(sizes), CHUNK_BYTES
    groups = _split(names, sizes, limit)
    while len(groups) > most:
        limit *= 2
        groups = _split(names, sizes, limit)
    return tuple(_chunk(group, sizes) for group in groups)


def in_words(tensors: Sequence[str]) -> str:
    """A group by its first and its last tensor: between them are all whose names lie between theirs."""
    if len(tensors) < 2:
        return "".join(tensors)
    return f"{tensors[0]} to {tensors[-1]} ({len(tensors)} tensors)"


def _split(names: Sequence[str], sizes: Mapping[str, int], limit: int) -> list[Sequence[str]]:
    """``names`` in groups of at most ``limit`` bytes (or one tensor)."""
    ranks = {name: _hash(name) for name in names}
    groups: list[Sequence[str]] = []
    waiting = [names] if names else []
    while waiting:
        part = waiting.pop()
        if len(part) == 1 or sum(sizes[name] for name in part) <= limit:
            groups.append(part)
            continue
        # The first tensor of a part was a splitting point already, or begins the whole.
        cut = min(range(1, len(part)), key=lambda index: ranks[part[index]])
        waiting += [part[cut:], part[:cut]]
    return groups


def _chunk(names: Sequence[str], sizes: Mapping[str, int]) -> Chunk:
    end, tensors = 0, []
    for name in names:
        alignment = _PAGE if sizes[name] >= _PAGE_FROM else _ALIGNMENT
        start = -(-end // alignment) * alignment
        tensors.append((name, start))
        end = start + sizes[name]
    described = "\n".join(f"{sizes[name]} {name}" for name in names)
    return Chunk(name=_hash(described)[:16], tensors=tuple(tensors), size=end)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
