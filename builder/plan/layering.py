"""Pure layering: which entries go into which layer, in the order in which they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.oci.entry import EntryKind, FileEntry
from builder.plan.image import Compression, LayerPlan, LayerRole

# Weights do not compress (measured: a gigabyte of random weights grows by 0.03 %), so models are plain tar: one read,
# one hash, and the diff_id is the digest. Code and libraries compress to a third.
_COMPRESSION = {LayerRole.MODEL: Compression.NONE}


def plan_layers(trees: Mapping[LayerRole, Sequence[FileEntry]]) -> tuple[LayerPlan, ...]:
    """One layer for each role that has entries.

    A directory that a lower layer already made in the same way is left out of the upper one, so that layers differ only
    in what they add.
    """
    made: dict[object, FileEntry] = {}
    layers = []
    for role in LayerRole:
        entries = sorted(trees.get(role, ()), key=lambda entry: entry.path)
        added = tuple(e for e in entries if not (e.kind is EntryKind.DIRECTORY and made.get(e.path) == e))
        if added:
            compression = _COMPRESSION.get(role, Compression.GZIP)
            layers.append(LayerPlan(role=role, entries=added, compression=compression))
        made |= {entry.path: entry for entry in entries}
    return tuple(layers)
