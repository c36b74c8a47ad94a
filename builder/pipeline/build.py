"""A build, as a table of contents: the stages in order for one target."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from builder.assemble.docker import DockerAssembler
from builder.assemble.embedded import EmbeddedAssembler
from builder.assemble.image import AssembledImage, Assembler
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
from builder.oci.reference import Reference
from builder.pipeline.answered import AnsweredModel, answer_model, in_words
from builder.pipeline.base import resolve_base
from builder.pipeline.cache import sweep_cache, tell_repairs
from builder.pipeline.checks import check_build, check_plan
from builder.pipeline.collection import FoundImage, LoadedImage, find_image, for_each, load_image
from builder.pipeline.explain import check_size
from builder.pipeline.image import check_layers, check_server, creation_time, plan_image
from builder.pipeline.libraries import find_libraries, stage_libraries
from builder.pipeline.model import LoadedModel
from builder.pipeline.prove import prove
from builder.pipeline.quantize import Quantization, asked_mode, quantize_model
from builder.pipeline.resolve import resolve
from builder.pipeline.result import BuildResult
from builder.pipeline.stage import stage_layers, stage_model, stage_server
from builder.pipeline.steps import Steps
from builder.plan.image import ImagePlan, LayerPlan
from builder.plan.spec import BuildSpec, Delivery, Engine
from builder.probe.report import ProbeReport
from builder.registry.push import PushResult, push_graph
from builder.render.context import require_empty, write_context
from builder.render.dockerfile import require_template
from builder.servers import find_server
from builder.targets import find_target
from builder.targets.lock import LockedTarget


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A plan, the bytes that it names, the models that it packs, and the choices behind it; ``manifest`` speaks of the
    image."""

    plan: ImagePlan
    tree: StagedTree
    manifest: ModelManifest
    models: tuple[AnsweredModel, ...]
    locked: LockedTarget


def build(spec: BuildSpec, delivery: Delivery, host: Host) -> BuildResult:
    """Build, test, load and push one image. Nothing is pushed that was not tested, unless the test is turned off."""
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
    """With the image in a layout, to be tested, loaded and looked at."""
    planned = _plan(spec, Keep.BLOB, steps, host)
    image = _assemble(planned, delivery, daemon, steps, host)
    check_size(image, delivery.max_size, host)
    report = _test(image, delivery, daemon, steps, host)
    loaded = _load(image, planned, delivery, daemon, steps)
    pushed = _push(layout_graph(image.layout), delivery, steps, host) if delivery.push else None
    result = _result(spec, delivery, planned, image, steps)
    return replace(result, layout=image.path, loaded_as=loaded, report=report, pushed=pushed)


def _leaves_nothing_here(delivery: Delivery, daemon: DockerEngine | None) -> bool:
    """Whether the image is wanted in the registry alone: then weights are sent from where they lie."""
    wanted_here = delivery.test or delivery.output or (delivery.load is not False and daemon)
    return delivery.push and delivery.engine is Engine.EMBEDDED and not wanted_here


def _stream(spec: BuildSpec, delivery: Delivery, steps: Steps, host: Host) -> BuildResult:
    planned = _plan(spec, Keep.DIGEST, steps, host)
    with steps("assemble") as note:
        image = stream_image(planned.plan, planned.tree, host)
        note.detail = f"{image.digest.short}, sent from where its weights lie"
    check_size(image, delivery.max_size, host)
    pushed = _push(image.graph, delivery, steps, host)
    return replace(_result(spec, delivery, planned, image, steps), pushed=pushed)


def _result(
    spec: BuildSpec, delivery: Delivery, planned: Planned, image: AssembledImage | StreamedImage, steps: Steps
) -> BuildResult:
    return BuildResult(
        name=planned.manifest.name,
        version=planned.manifest.version,
        locked=planned.locked,
        image=image,
        planned=_planned_layers(image, planned.plan),
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
    """Everything up to the plan: what ``mbuild plan`` shows."""
    check_plan(spec, host)
    return _plan(spec, Keep.DIGEST, Steps(host), host)


def render_model(spec: BuildSpec, directory: Path, template_dir: Path | None, host: Host) -> None:
    """Write the plan as a Dockerfile with its build context."""
    require_empty(directory)
    if template_dir:
        require_template(template_dir)
    planned = plan_model(spec, host)
    write_context(planned.plan, planned.tree, directory, template_dir)


def _plan(spec: BuildSpec, keep: Keep, steps: Steps, host: Host) -> Planned:
    server = find_server(spec.server, on_upstream=spec.base is not None)
    target = find_target(spec.target, spec.platform, spec.server)
    with steps("detect") as note:
        found = find_image(spec.model, spec.convert)
        note.detail = found.summary
    with steps("convert") as note:
        loaded = load_image(found, target, host)
        note.detail = loaded.summary
    choices = _quantize(spec, found, loaded, steps, host)
    image = loaded.with_models(each.model if each else one for one, each in zip(loaded.models, choices, strict=True))
    for_each(image.models, partial(check_server, server), host)
    with steps("resolve") as note:
        base = resolve_base(spec, target, server.programs, host)
        code = stage_server(server, host)
        locked = resolve(spec, target, image, base, code, host)
        note.detail = ", ".join(
            [
                f"{base.name} (Python {base.python})" if base.python else base.name,
                *(f"{w.name} {w.version}" for w in locked.wheels),
            ]
        )
    with steps("verify") as note:
        answered = for_each(loaded.models, answer_model, host)
        note.detail = in_words(answered)
    models = tuple(one.quantized(each) for one, each in zip(answered, choices, strict=True))
    with steps("stage") as note:
        packed = [stage_model(server, one, keep, host) for one in models]
        libraries = stage_libraries(spec, find_libraries(spec, image, base), base, host)
        staged = stage_layers(spec, locked, base, code, packed, libraries, host)
        note.detail = f"{len(staged.tree.entries)} files and directories"
    with steps("plan") as note:
        plan = plan_image(spec, server, image, base, staged, creation_time(host.environ, base))
        check_layers(plan, host)
        note.detail = ", ".join(dict.fromkeys(layer.role.value for layer in plan.layers))
    return Planned(plan=plan, tree=staged.tree, manifest=image.manifest, models=models, locked=locked)


def _quantize(
    spec: BuildSpec, found: FoundImage, loaded: LoadedImage, steps: Steps, host: Host
) -> tuple[Quantization | None, ...]:
    """The models in fewer bits, where somebody asks for it."""
    target = find_target(spec.target, spec.platform, spec.server)
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


def _daemon(delivery: Delivery, host: Host) -> DockerEngine | None:
    """The local engine: required where something asks for it by name, else used if it is there."""
    if delivery.engine is Engine.DOCKER or delivery.load:
        return require(host.environ)
    return connect(host.environ)


def _assemble(
    planned: Planned, delivery: Delivery, daemon: DockerEngine | None, steps: Steps, host: Host
) -> AssembledImage:
    """The image in the layout that the user named, else in a place of the cache that its next build replaces."""
    assembler: Assembler = EmbeddedAssembler(host)
    if delivery.engine is Engine.DOCKER and daemon is not None:
        write = partial(write_context, template_dir=delivery.template_dir)
        assembler = DockerAssembler(host, daemon, write)
    name, identifier = planned.manifest.name, planned.locked.identifier
    output = delivery.output or host.store.root / "images" / name / identifier
    with steps("assemble") as note, host.store.exclusive(content_key({"layout": str(output.resolve())})):
        image = assembler.assemble(planned.plan, planned.tree, output)
        note.detail = image.digest.short
    return image


def _test(
    image: AssembledImage, delivery: Delivery, daemon: DockerEngine | None, steps: Steps, host: Host
) -> ProbeReport | None:
    if not delivery.test:
        return None
    with steps.effect("test") as note:
        report = prove(image, None if delivery.load is False else daemon, host)
        note.detail = f"golden cases: {len(report.cases)} right, ready in {report.ready_seconds:.2f} s"
    return report


def _load(
    image: AssembledImage, planned: Planned, delivery: Delivery, daemon: DockerEngine | None, steps: Steps
) -> str:
    """Tag it in the local engine; the name that ``docker run`` takes, or nothing."""
    if delivery.load is False or daemon is None:
        return ""
    tag = delivery.tag or Reference.parse(f"{planned.manifest.name}:{planned.manifest.version}")
    with steps.effect("load") as note:
        load_into(daemon, image, [tag])
        note.detail = tag.familiar
    return tag.familiar


def _push(graph: Graph, delivery: Delivery, steps: Steps, host: Host) -> PushResult | None:
    if delivery.tag is None:
        return None
    with steps.effect("push") as note:
        pushed = push_graph(graph, delivery.tag, host)
        note.detail = str(pushed.reference)
    return pushed
