"""Lays the weights of a large model out as chunk files (builder/plan/chunks.py) beside a graph that points into them.

Nothing is copied: a chunk is pieces of the files that hold the tensors now. Models below ``CHUNK_FROM`` stay as they
are, and so do those that keep external data elsewhere than in the initializers of their main graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from onnx import TensorProto

from builder.formats.onnx_tensors import has_external_elsewhere
from builder.formats.onnx_wire import LARGE
from builder.model.source import ModelSource, PackedFile
from builder.oci.content import Piece, open_content
from builder.plan.chunks import Chunk, plan_chunks

CHUNK_FROM = 64 << 20
"""Bytes of weights from which on they are laid out in chunks."""

WEIGHTS = PurePosixPath("weights")
"""The directory of the chunk files, beside the graph."""

_Place = tuple[PurePosixPath, int, int]


def pack_weights(
    source: ModelSource, entry: PurePosixPath, proto: Any, raw: Mapping[int, tuple[int, int]], most_chunks: int
) -> tuple[bytes, tuple[PackedFile, ...]] | None:
    """The graph and the chunk files of a model; None where it stays as it is. ``proto`` is the model without the data
    that ``raw`` finds in the file of ``entry``: (offset, length) by the initializer's position. It is changed."""
    if has_external_elsewhere(proto):
        return None
    _take_in_small(source, entry, proto)
    places = _places(entry, proto, raw)
    unique = {place: name for name, place in reversed(places.items())}
    sizes = {name: length for (_, _, length), name in unique.items()}
    if sum(sizes.values()) < CHUNK_FROM:
        return None
    chunks = plan_chunks(sizes, most_chunks)
    home = {name: (chunk, offset) for chunk in chunks for name, offset in chunk.tensors}
    for tensor in proto.graph.initializer:
        if tensor.name in places:
            _point(tensor, *home[unique[places[tensor.name]]], sizes[unique[places[tensor.name]]])
    return proto.SerializeToString(deterministic=True), tuple(_file(chunk, places, source) for chunk in chunks)


def _places(entry: PurePosixPath, proto: Any, raw: Mapping[int, tuple[int, int]]) -> dict[str, _Place]:
    """Which bytes of which file each large tensor is."""
    places: dict[str, _Place] = {}
    for position, tensor in enumerate(proto.graph.initializer):
        if position in raw:
            places[tensor.name] = (entry, *raw[position])
        elif tensor.data_location == TensorProto.EXTERNAL:
            places[tensor.name] = _external(entry, tensor)
    return places


def _external(entry: PurePosixPath, tensor: Any) -> _Place:
    fields = {field.key: field.value for field in tensor.external_data}
    return _beside(entry, fields["location"]), int(fields.get("offset") or 0), int(fields.get("length") or 0)


@lru_cache
def _beside(entry: PurePosixPath, location: str) -> PurePosixPath:
    """Thousands of tensors lie in one file, and a path takes long to make."""
    return entry.parent / location


def _take_in_small(source: ModelSource, entry: PurePosixPath, proto: Any) -> None:
    """Put small external tensors into the graph, where they would be if they had been saved with it."""
    for tensor in proto.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        path, offset, length = _external(entry, tensor)
        if length < LARGE:
            with open_content((Piece(source.locate(path), offset, length),)) as content:
                tensor.raw_data = content.read()
            tensor.ClearField("data_location")
            del tensor.external_data[:]


def _point(tensor: Any, chunk: Chunk, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    del tensor.external_data[:]
    values = {"location": f"{WEIGHTS}/{chunk.name}.bin", "offset": str(offset), "length": str(length)}
    for key, value in values.items():
        tensor.external_data.add(key=key, value=value)


def _file(chunk: Chunk, places: Mapping[str, _Place], source: ModelSource) -> PackedFile:
    pieces: list[Piece] = []
    files = {path: source.locate(path) for path in {places[name][0] for name, _ in chunk.tensors}}
    end = 0
    for name, start in chunk.tensors:
        path, offset, length = places[name]
        if start > end:
            pieces.append(Piece(None, 0, start - end))
        pieces.append(Piece(files[path], offset, length))
        end = start + length
    names = tuple(name for name, _ in chunk.tensors)
    return PackedFile(path=WEIGHTS / f"{chunk.name}.bin", content=tuple(pieces), tensors=names)
