"""Pure layering: which entries go into which layer, in the order in which they change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from types import MappingProxyType

from builder.oci.entry import EntryKind, FileEntry
from builder.plan.image import Compression, LayerPlan, LayerRole

PLAIN_FROM = 64 << 20
"""Bytes from which on a model layer is plain tar. Weights do not compress (measured: a gigabyte of random weights grows
by 0.03 %), so a large layer is read once, hashed once, and its diff_id is its digest. Below that, compressing costs
nothing that anybody would notice, and tools that take every layer for gzip (`crane validate`) can read all of it."""

TAKEN_FROM = 64 << 20
"""Bytes from which on a file of the runtime becomes a part of its layer as its wheel has it compressed. Libraries of
GPU runtimes take longer to compress than to download, and become 0.3 % smaller (measured)."""

MOST_MODEL_LAYERS = 60
"""Models have a layer of their own each; more than these share layers, so that engines still take the image."""

NOTHING: Mapping[str, Sequence[FileEntry]] = MappingProxyType({})
UNTOLD: Mapping[PurePosixPath, str] = MappingProxyType({})


def _model_compression(entries: Sequence[FileEntry]) -> Compression:
    return Compression.NONE if sum(entry.size for entry in entries) >= PLAIN_FROM else Compression.GZIP


def weights_layer(entry: FileEntry, tensors: str = "") -> LayerPlan:
    """The layer of one chunk file: the file alone, so that its digest depends on nothing else. Its directories are made
    by the model's layer above."""
    return LayerPlan(role=LayerRole.WEIGHTS, entries=(entry,), compression=Compression.NONE, tensors=tensors)


def plan_layers(
    trees: Mapping[LayerRole, Sequence[FileEntry]],
    models: Mapping[str, Sequence[FileEntry]] = NOTHING,
    libraries: Mapping[str, Sequence[FileEntry]] = NOTHING,
    tensors: Mapping[PurePosixPath, str] = UNTOLD,
) -> tuple[LayerPlan, ...]:
    """One layer for each role that has entries, one for each chunk of weights (of which ``tensors`` tells what it
    holds), one for each of ``models``, and one for each part of ``libraries`` in their own order.

    A directory that a layer of a lower role already made in the same way is left out of the upper one, so that layers
    differ only in what they add. Layers of one role do not know of each other: a model or a part that comes, goes or
    changes leaves the others as they are.
    """
    made: dict[object, FileEntry] = {}
    layers: list[LayerPlan] = []
    for role in LayerRole:
        if role is LayerRole.WEIGHTS:
            layers += [weights_layer(entry, tensors.get(entry.path, "")) for entry in _sorted(trees.get(role, ()))]
            continue
        whole = tuple(_layers(role, trees, models, libraries))
        for layer in whole:
            entries = tuple(e for e in layer.entries if not (e.kind is EntryKind.DIRECTORY and made.get(e.path) == e))
            layers += [replace(layer, entries=entries)] if entries else []
        made |= {entry.path: entry for layer in whole for entry in layer.entries}
    return tuple(layers)


def _layers(
    role: LayerRole,
    trees: Mapping[LayerRole, Sequence[FileEntry]],
    models: Mapping[str, Sequence[FileEntry]],
    libraries: Mapping[str, Sequence[FileEntry]],
) -> Iterator[LayerPlan]:
    """The layers of a role that is not weights, with all their directories."""
    if role is LayerRole.MODEL:
        for names, group in _grouped(models).items():
            yield LayerPlan(role=role, entries=_sorted(group), compression=_model_compression(group), models=names)
    elif role is LayerRole.LIBRARIES:
        for part, group in libraries.items():
            yield LayerPlan(role=role, entries=_sorted(group), compression=Compression.GZIP_REUSED, part=part)
    else:
        entries = _sorted(trees.get(role, ()))
        reuses = role is LayerRole.RUNTIME and any(entry.size >= TAKEN_FROM for entry in entries)
        yield LayerPlan(role=role, entries=entries, compression=Compression.GZIP_REUSED if reuses else Compression.GZIP)


def _sorted(entries: Sequence[FileEntry]) -> tuple[FileEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.path))


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
