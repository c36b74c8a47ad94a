"""ONNX model files (onnx/docs/IR.md): finds them, reads what they say about themselves, stages them unchanged.

The graph is parsed without its external data, so a model of any size is described in the memory of its graph file.
Refused: what the image's onnxruntime could not load (newer opsets or IR, operators nobody registered), broken
protobufs, and external data that is missing, cut off or outside the directory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import onnx
from google.protobuf.message import DecodeError

from builder.errors import UnsupportedModel
from builder.formats.known import Sighting
from builder.formats.onnx_operators import graph_operators
from builder.formats.onnx_signature import read_signature
from builder.formats.onnx_tensors import GIT_LFS_POINTER, GitLfsPointer, external_files, nodes
from builder.formats.onnx_weights import CHUNK_FROM, pack_weights
from builder.formats.onnx_wire import NotProtobuf, read_skeleton
from builder.model.operators import Operators
from builder.model.signature import Signature
from builder.model.source import Detection, ModelArtifact, ModelSource, PackedFile
from builder.oci.digest import Digest
from builder.plan.chunks import MOST_CHUNKS

MAX_GRAPH_BYTES = (1 << 31) - 1
"""What protobuf can parse as one message (protobuf.dev, encoding: 2 GiB)."""

_GRAPH_NAME = PurePosixPath("model.onnx")
_RUNTIME_DOMAINS = frozenset(
    {"", "ai.onnx", "ai.onnx.ml", "ai.onnx.preview.training", "com.microsoft", "com.microsoft.nchwc"}
    | {"com.microsoft.experimental", "com.ms.internal.nhwc"}
)
_QUANTIZED = re.compile("[Qq]uant|QLinear|Integer")


class BrokenOnnx(UnsupportedModel):
    code = "broken-onnx"
    message = "{path} is not a whole ONNX model: {reason}"
    hint = (
        "it was cut off or is something else; export or fetch it again (`onnx.checker.check_model(path)` looks closer)"
    )


class UnsupportedOpset(UnsupportedModel):
    code = "unsupported-opset"
    message = "{path} uses opset {version} of {domain}; the onnxruntime of this target reads up to {newest} ({node})"
    hint = "export with a lower opset, or convert: onnx.version_converter.convert_version(onnx.load(path), {newest})"


class UnsupportedIr(UnsupportedModel):
    code = "unsupported-ir"
    message = "{path} has IR version {version}; the onnxruntime of this target reads up to {newest}"
    hint = "save it again: model.ir_version = {newest}; onnx.save(model, path) (the operators decide if that is true)"


class GraphTooLarge(UnsupportedModel):
    code = "graph-too-large"
    message = "{path} has {size} bytes; a protobuf message can have at most {cap}"
    hint = "save the weights beside it: onnx.save(model, path, save_as_external_data=True)"


class UnknownOperators(UnsupportedModel):
    code = "unknown-operators"
    message = "{path} uses operators that onnxruntime does not have: {operators}"
    hint = "they come from a custom operator library; export the model with standard operators, which every server has"


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxLimits:
    """The newest that a runtime reads. Defaults: measured with onnxruntime 1.31.1."""

    opset: int = 26
    ml_opset: int = 5
    ir: int = 13


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """What a model file says about itself. ``external`` and ``entry`` are relative to the model directory; ``metadata``
    are the model's metadata_props, which stay in the file; ``is_plain``: onnxruntime has one way to compute each node,
    whatever order it keeps the weights in."""

    entry: PurePosixPath
    external: tuple[PurePosixPath, ...]
    signature: Signature
    opset: int
    ir: int
    producer: str
    metadata: tuple[tuple[str, str], ...]
    operators: Operators
    is_plain: bool = True


class OnnxFormat:
    """``*.onnx`` files, whatever their name and folder."""

    name = "onnx"
    summary = "ONNX: a *.onnx file, with its external data beside it"

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(
            Detection(format=self.name, entry=file.path, evidence=("named *.onnx",))
            for file in source.files
            if file.path.suffix.lower() == ".onnx"
        )


def read_model(source: ModelSource, entry: PurePosixPath, limits: OnnxLimits) -> OnnxModel:
    """Describe the model at ``entry``. Raises one of the errors of this module or of those beside it."""
    proto, _ = _parse(source, entry)
    opset = _require_opsets(proto, entry, limits)
    functions = tuple(proto.functions)
    _require_known_operators((proto.graph, *functions), functions, entry)
    return OnnxModel(
        entry=entry,
        external=external_files(source, entry, (proto.graph, *functions)),
        signature=read_signature(proto, entry),
        opset=opset,
        ir=proto.ir_version,
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        metadata=tuple(sorted((prop.key, prop.value) for prop in proto.metadata_props)),
        is_plain=not any(_is_quantized(node) for graph in (proto.graph, *functions) for node in nodes(graph)),
        operators=graph_operators(proto),
    )


def stage_artifact(
    source: ModelSource,
    model: OnnxModel,
    digest_of: Callable[[Path], Digest] = Digest.of_file,
    most_chunks: int = MOST_CHUNKS,
) -> ModelArtifact:
    """The model's files where they lie, under the names that they have in the image: ``model.onnx``, and external data
    at its place relative to it; large weights are laid out in at most ``most_chunks`` chunks. ``digest_of`` may
    remember files."""
    placed = [(_GRAPH_NAME, source.locate(model.entry))]
    placed += [(path.relative_to(model.entry.parent), source.locate(path)) for path in model.external]
    if len({path for path, _ in placed}) < len(placed):
        raise BrokenOnnx(path=model.entry, reason=f"its external data is called {_GRAPH_NAME}, like the model itself")
    is_large = sum(local.stat().st_size for _, local in placed) >= CHUNK_FROM
    return ModelArtifact(
        files=tuple((path, local, digest_of(local)) for path, local in placed),
        opset=model.opset,
        laid_out=_laid_out(source, model, most_chunks) if is_large else (),
        reads_in_place=is_large and model.is_plain,
        operators=model.operators,
    )


def _laid_out(source: ModelSource, model: OnnxModel, most_chunks: int) -> tuple[PackedFile, ...]:
    packed = pack_weights(source, model.entry, *_parse(source, model.entry), most_chunks)
    return (PackedFile(path=_GRAPH_NAME, content=packed[0]), *packed[1]) if packed else ()


def _parse(source: ModelSource, entry: PurePosixPath) -> tuple[Any, Mapping[int, tuple[int, int]]]:
    """The model without its large weights, and where in the file those are (builder/formats/onnx_wire.py)."""
    path = source.locate(entry)
    size = path.stat().st_size
    if size > MAX_GRAPH_BYTES:
        raise GraphTooLarge(path=entry, size=size, cap=MAX_GRAPH_BYTES)
    if source.head(entry, len(GIT_LFS_POINTER)) == GIT_LFS_POINTER:
        raise GitLfsPointer(path=entry)
    try:
        skeleton = read_skeleton(path)
        proto = onnx.ModelProto.FromString(skeleton.model)
    except (DecodeError, NotProtobuf) as error:
        raise BrokenOnnx(path=entry, reason=f"its protobuf cannot be parsed, {size} bytes") from error
    # A cut between two fields leaves a legal protobuf, and so can any file of text: look for what a model must have.
    absent = _absent(proto)
    if absent:
        raise BrokenOnnx(path=entry, reason=f"it has {absent}, {size} bytes")
    return proto, skeleton.raw


def _is_quantized(node: Any) -> bool:
    """Whether weights that were put into another order are computed with in another way, too: onnxruntime quantises the
    inputs of such nodes only where it has (``MatMulNBits`` and what is fused into it)."""
    return node.domain not in ("", "ai.onnx", "ai.onnx.ml") or bool(_QUANTIZED.search(str(node.op_type)))


def _absent(proto: Any) -> str:
    checks = (
        (proto.ir_version, "no IR version"),
        (proto.HasField("graph"), "no graph"),
        (proto.graph.output, "no outputs"),
        (proto.opset_import, "no opset"),
    )
    return next((what for present, what in checks if not present), "")


def _require_opsets(proto: Any, entry: PurePosixPath, limits: OnnxLimits) -> int:
    """The opset of ai.onnx (0 where only other domains are imported)."""
    newest = {"ai.onnx": limits.opset, "ai.onnx.ml": limits.ml_opset}
    opsets = {imported.domain or "ai.onnx": imported.version for imported in proto.opset_import}
    for domain, version in sorted(opsets.items()):
        if version > newest.get(domain, version):
            node = _newer_node(proto, "" if domain == "ai.onnx" else domain, newest[domain], version)
            raise UnsupportedOpset(path=entry, version=version, domain=domain, newest=newest[domain], node=node)
    if proto.ir_version > limits.ir:
        raise UnsupportedIr(path=entry, version=proto.ir_version, newest=limits.ir)
    return int(opsets.get("ai.onnx", 0))


def _newer_node(proto: Any, domain: str, newest: int, version: int) -> str:
    """The first node that is of a later opset, as far as this onnx knows it."""
    for node in (node for graph in (proto.graph, *proto.functions) for node in nodes(graph)):
        if node.domain == domain and (since := _since(node.op_type, domain, version)) > newest:
            return f"the node {node.name or node.output[0]!r} is a {node.op_type} of opset {since}"
    return "no node needs a later one"


def _since(operator: str, domain: str, version: int) -> int:
    """In which opset the operator became what it is in ``version``; 0 for one that is unknown."""
    try:
        return int(onnx.defs.get_schema(operator, version, domain).since_version)
    except onnx.defs.SchemaError:
        return 0


def _require_known_operators(graphs: Iterable[Any], functions: Iterable[Any], entry: PurePosixPath) -> None:
    own = {(function.domain, function.name) for function in functions}
    unknown = sorted({f"{node.domain}::{node.op_type}" for graph in graphs for node in _foreign(graph, own)})
    if unknown:
        raise UnknownOperators(path=entry, operators=", ".join(unknown))


def _foreign(graph: Any, own: set[tuple[str, str]]) -> Iterator[Any]:
    for node in nodes(graph):
        if node.domain not in _RUNTIME_DOMAINS and (node.domain, node.op_type) not in own:
            yield node
