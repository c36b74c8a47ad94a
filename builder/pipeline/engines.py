"""The engines step: what TensorRT-RTX makes of a model's graph, ahead of time, for each GPU that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from builder.canonical import content_key
from builder.convert.engines import VERSION, make_engine
from builder.formats.onnx_engine import precision_of, wrap_engine
from builder.host import Host
from builder.model.engines import (
    FULL,
    USUAL,
    EngineFile,
    Engines,
    InputSizes,
    engine_name,
    input_sizes,
)
from builder.oci.digest import Digest
from builder.pipeline.model import LoadedModel
from builder.plan.spec import BuildSpec


def with_engines(spec: BuildSpec, model: LoadedModel, host: Host) -> LoadedModel:
    """The model with an engine for each capability; as it is where none was asked for. Raises EngineNotMade."""
    asked = USUAL if spec.convert.capabilities is None else spec.convert.capabilities
    if not asked:
        return model
    sizes = _sizes(model)
    engines = Engines(
        version=VERSION,
        precision=precision_of(model.artifact.graph),
        sizes=sizes,
        files=tuple(_made(model, capability, sizes, host) for capability in asked),
    )
    return replace(model, engines=engines)


def with_profile(model: LoadedModel) -> LoadedModel:
    """The model with what TensorRT is told of it when a server starts."""
    graph = content_key({"files": [[str(path), str(digest)] for path, _, digest in model.artifact.files]})
    engines = Engines(
        runtime=FULL,
        version="10",
        precision=precision_of(model.artifact.graph),
        sizes=_sizes(model),
        files=(),
        model=graph,
    )
    return replace(model, engines=engines)


def _sizes(model: LoadedModel) -> tuple[InputSizes, ...]:
    manifest = model.manifest
    names = {new: old for old, new in manifest.renames.inputs}
    rows = manifest.server.batching.max_batch
    found = input_sizes(model.signature, manifest.dims, (*model.cases, *model.edges), rows)
    return tuple(replace(one, name=names.get(one.name, one.name)) for one in found)


def _made(model: LoadedModel, capability: str, sizes: Sequence[InputSizes], host: Host) -> EngineFile:
    path = make_engine(model.manifest.name, model.artifact, capability, sizes, host)
    engine = f"{engine_name(VERSION, capability)}.engine"
    return EngineFile(
        capability=capability,
        path=path,
        digest=Digest.of_file(path),
        size=path.stat().st_size,
        graph=wrap_engine(model.artifact.graph, engine, capability),
    )


def describe_engines(models: Sequence[LoadedModel]) -> str:
    """``TensorRT-RTX 1.7.1.116 for 8.6, 8.9, 12.0: 1.3 MB``."""
    found = [one.engines for one in models if one.engines and one.engines.files]
    if not found:
        return "none: the GPU's provider compiles the ONNX when the server starts"
    size = sum(file.size for engines in found for file in engines.files)
    capabilities = ", ".join(file.capability for file in found[0].files)
    return f"TensorRT-RTX {found[0].version} for {capabilities}, {size / 1e6:.1f} MB"
