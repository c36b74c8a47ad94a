"""A build, as a table of contents: the stages in order for one target, on one platform or on several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from builder.assemble.docker import DockerAssembler
from builder.assemble.embedded import EmbeddedAssembler
from builder.assemble.image import AssembledImage, Assembler
from builder.assemble.index import index_graph, stream_index, write_index
from builder.assemble.load import load_into
from builder.assemble.streamed import StreamedImage, stream_image
from builder.assemble.weights import Keep
from builder.canonical import content_key
from builder.host import Host
from builder.host.docker import DockerEngine, connect, require
from builder.host.trees import StagedTree
from builder.model.bounds import Quantize
from builder.model.manifest import ModelManifest
from builder.oci.digest import Digest
from builder.oci.graph import Graph, layout_graph
from builder.oci.manifest import Document
from builder.oci.reference import Reference
from builder.pipeline.answered import AnsweredModel, answer_model, in_words
from builder.pipeline.base import ResolvedBase, resolve_base
from builder.pipeline.cache import sweep_cache, tell_repairs
from builder.pipeline.checks import check_build, check_plan
from builder.pipeline.collection import FoundImage, LoadedImage, find_image, for_each, load_image
from builder.pipeline.engines import describe_engines, with_engines, with_profile
from builder.pipeline.face import check_face, image_face
from builder.pipeline.image import check_layers, check_server, creation_time, plan_image, tell_where_it_runs
from builder.pipeline.libraries import find_libraries, stage_libraries
from builder.pipeline.model import LoadedModel
from builder.pipeline.packages.attached import attach_each
from builder.pipeline.packages.explain import check_size
from builder.pipeline.packages.report import attach_report, report_of, write_report
from builder.pipeline.prove import Proof, image_to_load, prove_each
from builder.pipeline.quantize import Quantization, asked_mode, quantize_model
from builder.pipeline.resolve import resolve
from builder.pipeline.result import BuildResult, BuiltImage
from builder.pipeline.stage import stage_layers, stage_model, stage_server
from builder.pipeline.steps import Steps
from builder.plan.image import ImagePlan, LayerPlan
from builder.plan.spec import BuildSpec, Delivery, Engine
from builder.probe.report import ProbeReport
from builder.registry.credentials import acting_for
from builder.registry.push import PushResult, push_graph
from builder.registry.versions import require_free
from builder.render.context import require_empty, write_context
from builder.render.dockerfile import require_template
from builder.servers import find_server
from builder.targets import Target, find_target
from builder.targets.lock import LockedTarget


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedImage:
    """A plan, the bytes that it names, and the choices behind it."""

    plan: ImagePlan
    tree: StagedTree
    locked: LockedTarget


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What is to be built: an image for each platform, all with the same models; ``manifest`` speaks of the image,
    ``identifier`` of all platforms."""

    images: tuple[PlannedImage, ...]
    manifest: ModelManifest
    models: tuple[AnsweredModel, ...]
    identifier: str


def build(spec: BuildSpec, delivery: Delivery, host: Host) -> BuildResult:
    """Build, test, load and push one image, or those of several platforms as one index. Nothing is pushed that was not
    tested, unless the test is turned off; or that this machine cannot run, which is said."""
    check_build(spec, delivery, host)
    sweep_cache(host)
    steps = Steps(host)
    daemon = _daemon(delivery, host)
    if _leaves_nothing_here(delivery, daemon):
        result = _stream(spec, delivery, steps, host)
    else:
        result = _keep(spec, delivery, daemon, steps, host)
    tell_repairs(host)
    return result


def _keep(spec: BuildSpec, delivery: Delivery, daemon: DockerEngine | None, steps: Steps, host: Host) -> BuildResult:
    """With the images in a layout, to be tested, loaded and looked at."""
    planned = _plan(spec, Keep.BLOB, steps, host)
    images, index = _assemble(planned, delivery, daemon, steps, host)
    for image in images:
        check_size(image, delivery.max_size, host)
    proofs = _test(images, delivery, daemon, steps, host)
    loaded = _load(images, planned, delivery, daemon, steps)
    graph = index_graph(index, images) if index else layout_graph(images[0].layout)
    pushed = _push(graph, delivery, steps, host)
    built = tuple(
        replace(one, loaded_as=loaded.get(one.image.digest, ""), proof=proof)
        for one, proof in zip(_built(planned, images), proofs, strict=True)
    )
    result = _result(spec, delivery, planned, built, steps)
    result = replace(result, index=index, layout=images[0].path, pushed=pushed)
    write_report(images[0].path, result.digest, report_of(result))
    return _with_report(result, graph, delivery, host)


def _leaves_nothing_here(delivery: Delivery, daemon: DockerEngine | None) -> bool:
    """Whether the image is wanted in the registry alone: then weights are sent from where they lie."""
    wanted_here = delivery.test or delivery.output or (delivery.load is not False and daemon)
    return delivery.push and delivery.engine is Engine.EMBEDDED and not wanted_here


def _stream(spec: BuildSpec, delivery: Delivery, steps: Steps, host: Host) -> BuildResult:
    planned = _plan(spec, Keep.DIGEST, steps, host)
    with steps("assemble") as note:
        images = tuple(stream_image(one.plan, one.tree, host) for one in planned.images)
        index, graph = stream_index(images)
        note.detail = f"{graph.top.descriptor.digest.short}, sent from where its weights lie"
    for image in images:
        check_size(image, delivery.max_size, host)
    pushed = _push(graph, delivery, steps, host)
    result = _result(spec, delivery, planned, _built(planned, images), steps)
    return _with_report(replace(result, index=index, pushed=pushed), graph, delivery, host)


def _with_report(result: BuildResult, graph: Graph, delivery: Delivery, host: Host) -> BuildResult:
    """The result, which an image that was pushed has attached to it then, in each repository."""
    for reference in dict.fromkeys(one.reference for one in result.pushed):
        attach_report(report_of(result), graph, reference, _pushing(delivery, host))
    return result


def _built(planned: Planned, images: Sequence[AssembledImage | StreamedImage]) -> tuple[BuiltImage, ...]:
    return tuple(
        BuiltImage(locked=one.locked, image=image, planned=_planned_layers(image, one.plan))
        for one, image in zip(planned.images, images, strict=True)
    )


def _result(
    spec: BuildSpec, delivery: Delivery, planned: Planned, images: tuple[BuiltImage, ...], steps: Steps
) -> BuildResult:
    return BuildResult(
        name=planned.manifest.name,
        version=planned.manifest.version,
        identifier=planned.identifier,
        images=images,
        lock=spec.lock,
        engine=delivery.engine.value,
        models=planned.models,
        steps=tuple(steps.records),
    )


def _planned_layers(image: AssembledImage | StreamedImage, plan: ImagePlan) -> dict[Digest, LayerPlan]:
    """Each layer of the plan by its diff_id; layers of an upstream base come first."""
    own = image.layers[len(plan.base.layers) if plan.base else 0 :]
    return {layer.diff_id: planned for layer, planned in zip(own, plan.layers, strict=False)}


def plan_model(spec: BuildSpec, host: Host) -> Planned:
    """Everything up to the plans: what ``mbuild plan`` shows."""
    check_plan(spec, host)
    return _plan(spec, Keep.DIGEST, Steps(host), host)


def render_model(spec: BuildSpec, directory: Path, template_dir: Path | None, host: Host) -> tuple[Path, ...]:
    """Write the plan as a Dockerfile with its build context; of several, each below ``directory``, by its platform."""
    require_empty(directory)
    if template_dir:
        require_template(template_dir)
    images = plan_model(spec, host).images
    places = [directory] if len(images) == 1 else [directory / one.plan.platform.slug for one in images]
    for one, place in zip(images, places, strict=True):
        write_context(one.plan, one.tree, place, template_dir)
    return tuple(places)


def _plan(spec: BuildSpec, keep: Keep, steps: Steps, host: Host) -> Planned:
    """What is done with a model is done once; what depends on the platform, for each."""
    target = _target(spec)
    server = find_server(spec.server, on_upstream=spec.base is not None, on_gpu=target.on_gpu)
    with steps("detect") as note:
        found = find_image(spec.model, spec.convert)
        note.detail = found.summary
    with steps("convert") as note:
        loaded = load_image(found, target, host)
        note.detail = loaded.summary
    choices = _quantize(spec, found, loaded, steps, host)
    image = loaded.with_models(each.model if each else one for one, each in zip(loaded.models, choices, strict=True))
    image = _compile(spec, target, image, steps, host) if target.is_compiled else image
    for_each(image.models, partial(check_server, server), host)
    for_each(image.models, partial(tell_where_it_runs, target), host)
    with steps("resolve") as note:
        code = stage_server(server, host)
        bases = [resolve_base(one, target, server.programs, host) for one in spec.each]
        locks = [resolve(one, target, image, base, code, host) for one, base in zip(spec.each, bases, strict=True)]
        note.detail = _in_words(bases, locks)
    with steps("verify") as note:
        answered = for_each(loaded.models, answer_model, host)
        note.detail = in_words(answered)
    models = tuple(
        one.quantized(choice).compiled(model.engines)
        for one, choice, model in zip(answered, choices, image.models, strict=True)
    )
    chosen = list(zip(spec.each, bases, locks, strict=True))
    with steps("stage") as note:
        packed = [stage_model(server, one, keep, host) for one in models]
        staged = []
        for one, base, locked in chosen:
            libraries = stage_libraries(find_libraries(one, image, base), base, one.platform, host)
            staged.append(stage_layers(one, locked, base, code, packed, libraries, host))
        note.detail = f"{len({entry.path for layers in staged for entry in layers.tree.entries})} files and directories"
    with steps("plan") as note:
        planned = []
        for (one, base, locked), layers in zip(chosen, staged, strict=True):
            face = image_face(one, image.manifest, models, base, locked)
            plan = plan_image(face, server, image, base, layers, creation_time(host.environ, base))
            check_face(plan, host)
            check_layers(plan, host)
            planned.append(PlannedImage(plan=plan, tree=layers.tree, locked=locked))
        note.detail = ", ".join(dict.fromkeys(layer.role.value for one in planned for layer in one.plan.layers))
    identifier = target.identifier(*spec.platforms)
    return Planned(images=tuple(planned), manifest=image.manifest, models=models, identifier=identifier)


def _target(spec: BuildSpec) -> Target:
    """The same for all platforms, each of which it must have."""
    first, *_ = [find_target(spec.target, platform, spec.server) for platform in spec.platforms]
    return first


def _in_words(bases: Sequence[ResolvedBase], locks: Sequence[LockedTarget]) -> str:
    names = (f"{base.name} (Python {base.python})" if base.python else base.name for base in bases)
    wheels = (f"{wheel.name} {wheel.version}" for locked in locks for wheel in locked.wheels)
    return ", ".join(dict.fromkeys([*names, *wheels]))


def _quantize(
    spec: BuildSpec, found: FoundImage, loaded: LoadedImage, steps: Steps, host: Host
) -> tuple[Quantization | None, ...]:
    """The models in fewer bits, where somebody asks for it."""
    target = _target(spec)
    sources = {one.manifest.name: one.source for one in found.models}
    if all(asked_mode(spec, model) is Quantize.NONE for model in loaded.models):
        return (None,) * len(loaded.models)

    def quantize(model: LoadedModel, own: Host) -> Quantization | None:
        wanted = asked_mode(spec, model) is not Quantize.NONE
        return quantize_model(spec, sources[model.manifest.name], model, target, own) if wanted else None

    with steps("quantize") as note:
        smaller = for_each(loaded.models, quantize, host)
        note.detail = "; ".join(one.summary for one in smaller if one)
    return smaller


def _compile(spec: BuildSpec, target: Target, image: LoadedImage, steps: Steps, host: Host) -> LoadedImage:
    """The models with their engines, or with the sizes that engines will be made for."""
    if target.has_profiles:
        return image.with_models(map(with_profile, image.models))
    with steps("engines") as note:
        made = for_each(image.models, partial(with_engines, spec), host)
        note.detail = describe_engines(made)
    return image.with_models(made)


def _daemon(delivery: Delivery, host: Host) -> DockerEngine | None:
    """The local engine: required where something asks for it by name, else used if it is there, unless nothing may."""
    if delivery.engine is Engine.DOCKER or delivery.load:
        return require(host.environ)
    return connect(host.environ) if delivery.load is None else None


def _assemble(
    planned: Planned, delivery: Delivery, daemon: DockerEngine | None, steps: Steps, host: Host
) -> tuple[tuple[AssembledImage, ...], Document | None]:
    """The images, and their index if they are several, in the layout that the user named, else in a place of the cache
    that its next build replaces."""
    assembler: Assembler = EmbeddedAssembler(host)
    if delivery.engine is Engine.DOCKER and daemon is not None:
        write = partial(write_context, template_dir=delivery.template_dir)
        assembler = DockerAssembler(host, daemon, write)
    output = delivery.output or host.store.root / "images" / planned.manifest.name / planned.identifier
    with steps("assemble") as note, host.store.exclusive(content_key({"layout": str(output.resolve())})):
        images = tuple(assembler.assemble(one.plan, one.tree, output) for one in planned.images)
        index = write_index(images)
        note.detail = index.descriptor.digest.short if index else images[0].digest.short
    return images, index


def _test(
    images: Sequence[AssembledImage], delivery: Delivery, daemon: DockerEngine | None, steps: Steps, host: Host
) -> tuple[Proof | None, ...]:
    if not delivery.test:
        return (None,) * len(images)
    with steps.effect("test") as note:
        daemon = None if delivery.load is False else daemon
        proofs = prove_each(images, daemon, host, again=delivery.test_again)
        note.is_cached = all(isinstance(proof, ProbeReport) and proof.is_remembered for proof in proofs)
        told = [f"{one.config.platform}: {proof.summary}" for one, proof in zip(images, proofs, strict=True)]
        note.detail = "; ".join(told) if len(proofs) > 1 else proofs[0].summary
    return proofs


def _load(
    images: Sequence[AssembledImage],
    planned: Planned,
    delivery: Delivery,
    daemon: DockerEngine | None,
    steps: Steps,
) -> dict[Digest, str]:
    """Tag an image in the local engine, which keeps that of one platform; by its digest the name that it has there."""
    image = image_to_load(images)
    if delivery.load is False or daemon is None or image is None:
        return {}
    tags = delivery.tags or (Reference.parse(f"{planned.manifest.name}:{planned.manifest.version}"),)
    with steps.effect("load") as note:
        load_into(daemon, image, tags)
        names = ", ".join(tag.familiar for tag in tags)
        note.detail = names + (f" ({image.config.platform} alone)" if len(images) > 1 else "")
    return {image.digest: tags[0].familiar}


def _push(graph: Graph, delivery: Delivery, steps: Steps, host: Host) -> tuple[PushResult, ...]:
    """To each tag; to none where one of them is taken."""
    if not delivery.push:
        return ()
    host = _pushing(delivery, host)
    with steps.effect("push") as note:
        for tag in () if delivery.force else delivery.tags:
            require_free(tag, graph.top.descriptor.digest, host)
        pushed = tuple(push_graph(graph, tag, host) for tag in delivery.tags)
        note.detail = ", ".join(dict.fromkeys(str(one.reference) for one in pushed))
    return attach_each(graph, pushed, delivery.attach, steps, host)


def _pushing(delivery: Delivery, host: Host) -> Host:
    """Of several registries, the first is the one that a user and a password in the environment are meant for."""
    return acting_for(delivery.tags[0].registry, host)
