"""Pure layering: which entries go into which layer, in the order in which they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.oci.entry import EntryKind, FileEntry
from builder.plan.image import Compression, LayerPlan, LayerRole

PLAIN_FROM = 64 << 20
"""Bytes from which on a model layer is plain tar. Weights do not compress (measured: a gigabyte of random weights grows
by 0.03 %), so a large layer is read once, hashed once, and its diff_id is its digest. Below that, compressing costs
nothing that anybody would notice, and tools that take every layer for gzip (`crane validate`) can read all of it."""


def _compression(role: LayerRole, entries: Sequence[FileEntry]) -> Compression:
    large = sum(entry.size for entry in entries) >= PLAIN_FROM
    return Compression.NONE if role is LayerRole.MODEL and large else Compression.GZIP


def weights_layer(entry: FileEntry) -> LayerPlan:
    """The layer of one chunk file: the file alone, so that its digest depends on nothing else. Its directories are made
    by the model's layer above."""
    return LayerPlan(role=LayerRole.WEIGHTS, entries=(entry,), compression=Compression.NONE)


def plan_layers(trees: Mapping[LayerRole, Sequence[FileEntry]]) -> tuple[LayerPlan, ...]:
    """One layer for each role that has entries, and one for each chunk of weights.

    A directory that a lower layer already made in the same way is left out of the upper one, so that layers differ only
    in what they add.
    """
    made: dict[object, FileEntry] = {}
    layers: list[LayerPlan] = []
    for role in LayerRole:
        entries = sorted(trees.get(role, ()), key=lambda entry: entry.path)
        if role is LayerRole.WEIGHTS:
            layers += (weights_layer(entry) for entry in entries)
            continue
        added = tuple(e for e in entries if not (e.kind is EntryKind.DIRECTORY and made.get(e.path) == e))
        if added:
            layers.append(LayerPlan(role=role, entries=added, compression=_compression(role, added)))
        made |= {entry.path: entry for entry in entries}
    return tuple(layers)
