"""Pure layering: which entries go into which layer, in the order in which they change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from builder.oci.entry import EntryKind, FileEntry
from builder.plan.image import Compression, LayerPlan, LayerRole

PLAIN_FROM = 64 << 20
"""Bytes from which on a model layer is plain tar. Weights do not compress (measured: a gigabyte of random weights grows
by 0.03 %), so a large layer is read once, hashed once, and its diff_id is its digest. Below that, compressing costs
nothing that anybody would notice, and tools that take every layer for gzip (`crane validate`) can read all of it."""

MOST_MODEL_LAYERS = 60
"""Models have a layer of their own each; more than these share layers, so that engines still take the image."""

NO_MODELS: Mapping[str, Sequence[FileEntry]] = MappingProxyType({})


def _compression(role: LayerRole, entries: Sequence[FileEntry]) -> Compression:
    large = sum(entry.size for entry in entries) >= PLAIN_FROM
    return Compression.NONE if role is LayerRole.MODEL and large else Compression.GZIP


def weights_layer(entry: FileEntry) -> LayerPlan:
    """The layer of one chunk file: the file alone, so that its digest depends on nothing else. Its directories are made
    by the model's layer above."""
    return LayerPlan(role=LayerRole.WEIGHTS, entries=(entry,), compression=Compression.NONE)


def plan_layers(
    trees: Mapping[LayerRole, Sequence[FileEntry]], models: Mapping[str, Sequence[FileEntry]] = NO_MODELS
) -> tuple[LayerPlan, ...]:
    """One layer for each role that has entries, one for each chunk of weights, and one for each of ``models``.

    A directory that a layer of a lower role already made in the same way is left out of the upper one, so that layers
    differ only in what they add. Layers of models do not know of each other: one that comes, goes or changes leaves the
    others as they are.
    """
    made: dict[object, FileEntry] = {}
    layers: list[LayerPlan] = []
    for role in LayerRole:
        if role is LayerRole.WEIGHTS:
            layers += (weights_layer(entry) for entry in _sorted(trees.get(role, ())))
            continue
        groups = _grouped(models) if role is LayerRole.MODEL else {(): trees.get(role, ())}
        for names, group in groups.items():
            entries = tuple(e for e in _sorted(group) if not (e.kind is EntryKind.DIRECTORY and made.get(e.path) == e))
            if entries:
                compression = _compression(role, entries)
                layers.append(LayerPlan(role=role, entries=entries, compression=compression, models=names))
        made |= {entry.path: entry for group in groups.values() for entry in group}
    return tuple(layers)


def _sorted(entries: Sequence[FileEntry]) -> list[FileEntry]:
    return sorted(entries, key=lambda entry: entry.path)


def _grouped(models: Mapping[str, Sequence[FileEntry]]) -> dict[tuple[str, ...], Sequence[FileEntry]]:
    """The entries of each layer, by the names of its models. Which layer a model shares depends on its name alone."""
    shelves: dict[str, list[str]] = {}
    for name in sorted(models):
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % MOST_MODEL_LAYERS
        shelves.setdefault(f"{number:02}" if len(models) > MOST_MODEL_LAYERS else name, []).append(name)
    return {
        tuple(names): tuple({entry.path: entry for name in names for entry in models[name]}.values())
        for _, names in sorted(shelves.items())
    }
