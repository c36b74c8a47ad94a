"""Walks the tensors of an ONNX graph and checks where their external data lies, without reading it.

onnx/docs/ExternalData.md: ``location`` is relative to the model file, ``offset`` and ``length`` are decimal bytes. A
location that is absolute, climbs out of the directory or is not a listed regular file is refused (the listing already
refuses links that leave the directory).
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from onnx import AttributeProto, TensorProto
from onnx.helper import tensor_dtype_to_np_dtype

from builder.errors import UnsupportedModel
from builder.model.source import ModelFile, ModelSource

GIT_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_HALF_BYTE_TYPES = frozenset({"UINT4", "INT4", "FLOAT4E2M1"})


class ExternalDataEscapes(UnsupportedModel):
    code = "external-data-escapes"
    message = "tensor {tensor!r} of {path} keeps its data outside the model directory, at {location!r}"
    hint = "save the model again with its external data beside it: onnx.save(model, path, save_as_external_data=True)"


class ExternalDataMissing(UnsupportedModel):
    code = "external-data-missing"
    message = "tensor {tensor!r} of {path} keeps its data in {location!r}, which is not there"
    hint = "put that file beside {path}, in the place and under the name that the model was saved with"


class ExternalDataShort(UnsupportedModel):
    code = "external-data-short"
    message = "{location} has {size} bytes, but tensor {tensor!r} of {path} ends at byte {end}"
    hint = "the file was cut off, perhaps by a download or a copy; fetch it again"


class ExternalDataMalformed(UnsupportedModel):
    code = "external-data-malformed"
    message = "tensor {tensor!r} of {path} describes its external data wrongly: {reason}"
    hint = "save the model again with onnx.save(model, path, save_as_external_data=True)"


class GitLfsPointer(UnsupportedModel):
    code = "git-lfs-pointer"
    message = "{path} is a Git LFS pointer, not the file itself"
    hint = "run `git lfs pull` where the model comes from"


def external_files(source: ModelSource, entry: PurePosixPath, graphs: Iterable[Any]) -> tuple[PurePosixPath, ...]:
    """The external data files of the graphs (GraphProto or FunctionProto), relative to the model directory, sorted.

    Raises ExternalDataEscapes, -Missing, -Short or -Malformed, or GitLfsPointer.
    """
    found: dict[str, ModelFile] = {}  # by location: thousands of tensors lie in one file
    for graph in graphs:
        for tensor in all_tensors(graph):
            if tensor.data_location == TensorProto.EXTERNAL:
                _check_external(source, entry, tensor, found)
    return tuple(sorted({file.path for file in found.values()}))


def has_external_elsewhere(proto: Any) -> bool:
    """Whether a tensor that is no initializer of the main graph keeps its data outside the file, or one that is does
    not say how long it is."""
    inner = [tensor for graph in (proto.graph, *proto.functions) for tensor in _inner_tensors(graph)]
    own = [tensor for tensor in proto.graph.initializer if not any(f.key == "length" for f in tensor.external_data)]
    return any(tensor.data_location == TensorProto.EXTERNAL for tensor in (*inner, *own))


def nodes(graph: Any) -> Iterator[Any]:
    """All nodes of a graph or function and of the graphs inside them."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs) if _holds_graphs(attribute) else ():
                yield from nodes(inner)


def _holds_graphs(attribute: Any) -> bool:
    return attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS)


def all_tensors(graph: Any) -> Iterator[Any]:
    """Initializers, and what nodes of a graph or function hold, also in the graphs inside them."""
    yield from getattr(graph, "initializer", ())
    yield from _inner_tensors(graph)


def _inner_tensors(graph: Any) -> Iterator[Any]:
    """All but the initializers."""
    for sparse in getattr(graph, "sparse_initializer", ()):
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from _attribute_tensors(attribute)


def _attribute_tensors(attribute: Any) -> Iterator[Any]:
    if attribute.type in (AttributeProto.TENSOR, AttributeProto.TENSORS):
        yield from (attribute.t, *attribute.tensors)
    elif attribute.type in (AttributeProto.SPARSE_TENSOR, AttributeProto.SPARSE_TENSORS):
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
    elif _holds_graphs(attribute):
        for inner in (attribute.g, *attribute.graphs):
            yield from all_tensors(inner)


def _check_external(source: ModelSource, entry: PurePosixPath, tensor: Any, found: dict[str, ModelFile]) -> None:
    """Look at one tensor, and put the file that it lies in into ``found``."""
    fields = {field.key: field.value for field in tensor.external_data}
    location = fields.get("location", "")
    file = found.get(location) or source.find(_locate(entry, tensor.name, location))
    if file is None:
        raise ExternalDataMissing(tensor=tensor.name, path=entry, location=location)
    end = _end(entry, tensor, fields)
    if end > file.size:
        if source.head(file.path, len(GIT_LFS_POINTER)) == GIT_LFS_POINTER:
            raise GitLfsPointer(path=file.path)
        raise ExternalDataShort(location=file.path, size=file.size, tensor=tensor.name, path=entry, end=end)
    found[location] = file


def _locate(entry: PurePosixPath, tensor: str, location: str) -> PurePosixPath:
    if not location:
        raise ExternalDataMalformed(tensor=tensor, path=entry, reason="it names no file (location)")
    if location.startswith("/") or "\\" in location or PureWindowsPath(location).drive or "\0" in location:
        raise ExternalDataEscapes(tensor=tensor, path=entry, location=location)
    # Relative to the model file, and not above it: the version directory in the image starts there.
    if ".." in location.split("/"):
        raise ExternalDataEscapes(tensor=tensor, path=entry, location=location)
    return entry.parent / posixpath.normpath(location)


def _end(entry: PurePosixPath, tensor: Any, fields: dict[str, str]) -> int:
    expected = _byte_size(tensor)
    try:
        offset, length = int(fields.get("offset") or 0), int(fields.get("length") or expected)
    except ValueError as error:
        raise ExternalDataMalformed(tensor=tensor.name, path=entry, reason=error) from error
    if offset < 0 or length < expected:
        reason = f"offset {offset} and length {length}, for {expected} bytes"
        raise ExternalDataMalformed(tensor=tensor.name, path=entry, reason=reason)
    return offset + length


def _byte_size(tensor: Any) -> int:
    """Bytes of the tensor's raw data; 0 for a type that this version of onnx does not know."""
    try:
        name = TensorProto.DataType.Name(tensor.data_type)
        count = math.prod(tensor.dims)
        if name in _HALF_BYTE_TYPES:
            return int(count + 1) // 2
        return int(count * tensor_dtype_to_np_dtype(tensor.data_type).itemsize)
    except (ValueError, KeyError):
        return 0
