"""The plan step: the pure end of everything before execution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from builder.errors import AssemblyError, UsageError
from builder.events import Warned
from builder.host import Host
from builder.host.clock import rfc3339
from builder.model.face import Face
from builder.oci.platform import Platform
from builder.pipeline.base import ResolvedBase
from builder.pipeline.collection import LoadedImage
from builder.pipeline.model import LoadedModel
from builder.pipeline.operators import cpu_remark
from builder.pipeline.stage import StagedLayers, packed_model
from builder.plan.gpu_parts import runtime_settings
from builder.plan.image import BASE_LAYERS, ImagePlan
from builder.plan.layering import plan_layers
from builder.servers import PackedModel, Server
from builder.targets import Target


class MalformedEpoch(UsageError):
    code = "malformed-epoch"
    message = "SOURCE_DATE_EPOCH is {text!r}, not a number of seconds since 1970"
    hint = "set it to whole seconds, for example `git log -1 --format=%ct`, or leave it unset"


class TooManyLayers(AssemblyError):
    code = "too-many-layers"
    message = "the image would have {count} layers; engines stop at {most}"
    hint = (
        "the base has most of them, or there are many large models: take a base with fewer (`--base`), or mbuild's own"
    )


MOST_LAYERS = 127
"""Where engines stop that keep images in overlay file systems."""

LARGEST_LAYER = 10_000_000_000
"""Bytes that GHCR takes for a layer (docs.github.com, working with the container registry)."""

UPLOAD_SECONDS = 600
"""That GHCR gives an upload (the same page)."""

SLOW_LINE = 5_000_000
"""Bytes a second below which a line is no longer taken for granted: 40 Mbit/s."""


def plan_image(
    face: Face,
    server: Server,
    image: LoadedImage,
    base: ResolvedBase,
    staged: StagedLayers,
    created: str,
) -> ImagePlan:
    """The plan; the same arguments give the same plan, and the same plan the same image."""
    config = server.config(base.interpreter, tuple(map(_unanswered, image.models)), image.manifest.server)
    if base.gpu:
        settings = runtime_settings(staged.libraries.reasons.keys())
        config = replace(config, env=(*config.env, *base.gpu.env, *settings.items()))
        face = replace(face, gpu=base.gpu.gpu.face(tuple(staged.libraries.reasons)))
    labels = _labels(face, image)
    if base.upstream:
        labels[BASE_LAYERS] = str(len(base.upstream.layers))
    return ImagePlan(
        platform=Platform.parse(face.platform),
        base=base.upstream,
        layers=plan_layers(
            {role: tree.entries for role, tree in staged.roles.items()},
            {name: tree.entries for name, tree in staged.models.items()},
            {part: tree.entries for part, tree in staged.libraries.trees.items()},
            staged.tensors,
        ),
        config=replace(config, labels=tuple(sorted(labels.items()))),
        created=created,
        annotations=tuple(sorted(_annotations(labels, base, created).items())),
    )


def check_server(server: Server, model: LoadedModel, host: Host) -> None:
    """Warns of what the server does otherwise than model.yaml asks; raises what it raises of a model that it cannot
    serve."""
    for remark in server.check(_unanswered(model)):
        host.events.emit(Warned(message=remark.message, hint=remark.hint))


def tell_where_it_runs(target: Target, model: LoadedModel, host: Host) -> None:
    """Warns of nodes that the target's GPU does not run."""
    if remark := cpu_remark(model.artifact.operators, target):
        hint = "values go to the CPU and back for each; another opset or export may have operators that the GPU runs"
        host.events.emit(Warned(message=remark, hint=hint))


def _unanswered(model: LoadedModel) -> PackedModel:
    return packed_model(model, model.cases)


def check_layers(plan: ImagePlan, host: Host) -> None:
    """Raises TooManyLayers; warns of layers that public registries are known to refuse."""
    count = len(plan.layers) + (len(plan.base.layers) if plan.base else 0)
    if count > MOST_LAYERS:
        raise TooManyLayers(count=count, most=MOST_LAYERS)
    for layer in plan.layers:
        if reason := _hard_to_push(layer.size):
            message = f"a layer of {layer.role.value} has {layer.size / 1e9:.1f} GB: {reason}"
            hint = "a registry of your own may take it; a tensor cannot be split over layers"
            host.events.emit(Warned(message=message, hint=hint))


def _hard_to_push(size: int) -> str:
    """Why a layer of so many bytes may not come to a public registry; nothing where it will."""
    if size > LARGEST_LAYER:
        return "GHCR takes no more than 10 GB"
    if size > SLOW_LINE * UPLOAD_SECONDS:
        return f"GHCR gives an upload 10 minutes, so the line to it must carry {size / UPLOAD_SECONDS / 1e6:.0f} MB/s"
    return ""


def creation_time(environ: Mapping[str, str], base: ResolvedBase) -> str:
    """RFC 3339: SOURCE_DATE_EPOCH where it is set (reproducible-builds.org), else the base's date. Never the clock.
    Raises MalformedEpoch."""
    return epoch(environ) or base.created


def epoch(environ: Mapping[str, str]) -> str:
    """SOURCE_DATE_EPOCH as RFC 3339, or nothing where it is not set. Raises MalformedEpoch."""
    text = environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return ""
    try:
        seconds = int(text)
        if seconds < 0:
            raise MalformedEpoch(text=text)
        return rfc3339(seconds)
    except (ValueError, OverflowError, OSError) as error:
        raise MalformedEpoch(text=text) from error


def _labels(face: Face, image: LoadedImage) -> dict[str, str]:
    """The user's own, the face, and in words what engines filter by (``docker images --filter label=...``)."""
    quantized = {one.name: one.quantized for one in face.models if one.quantized}
    several = len(face.models) > 1
    labels = {
        **{key: " ".join(value.split()) for key, value in image.manifest.labels},
        **face.to_labels(),
        "dev.mbuild.model.digest": str(image.digest),
        "dev.mbuild.model.format": " ".join(dict.fromkeys(one.format for one in face.models)),
        "dev.mbuild.model.quantized": " ".join(f"{k}={v}" if several else v for k, v in quantized.items()),
    }
    return {key: value for key, value in labels.items() if value}


def _annotations(labels: Mapping[str, str], base: ResolvedBase, created: str) -> dict[str, str]:
    """image-spec annotations.md. ``base.digest`` is only for a base that is a manifest in a registry."""
    annotations = {key: value for key, value in labels.items() if key.startswith("org.opencontainers.")}
    annotations["org.opencontainers.image.created"] = created
    if base.upstream:
        annotations["org.opencontainers.image.base.name"] = base.name
        annotations["org.opencontainers.image.base.digest"] = str(base.digest)
    return annotations
