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
from builder.model.parity_report import Verification
from builder.oci.digest import Digest
from builder.oci.graph import Graph, layout_graph
from builder.oci.reference import Reference
from builder.pipeline.base import resolve_base
from builder.pipeline.cache import sweep_cache, tell_repairs
from builder.pipeline.checks import check_build, check_plan
from builder.pipeline.image import check_layers, check_server, creation_time, plan_image
from builder.pipeline.model import FoundModel, LoadedModel, find_model, load_model
from builder.pipeline.prove import prove
from builder.pipeline.quantize import Quantization, asked_mode, quantize_model
from builder.pipeline.resolve import resolve
from builder.pipeline.result import BuildResult
from builder.pipeline.stage import AnsweredCases, stage_layers, stage_model, stage_server
from builder.pipeline.steps import Steps
from builder.pipeline.verify import answer, answer_plain
from builder.plan.image import ImagePlan
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
    """A plan, the bytes that it names, the model that it packs, and the choices behind it; ``quantization`` is None
    where nothing of that kind was asked for."""

    plan: ImagePlan
    tree: StagedTree
    model: LoadedModel
    locked: LockedTarget
    parity: Verification
    quantization: Quantization | None


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
    pushed = _push(image.graph, delivery, steps, host)
    return replace(_result(spec, delivery, planned, image, steps), pushed=pushed)


def _result(
    spec: BuildSpec, delivery: Delivery, planned: Planned, image: AssembledImage | StreamedImage, steps: Steps
) -> BuildResult:
    manifest = planned.model.manifest
    return BuildResult(
        name=manifest.name,
        version=manifest.version,
        locked=planned.locked,
        image=image,
        unpacked=_unpacked(image, planned.plan),
        lock=spec.lock,
        engine=delivery.engine.value,
        parity=planned.parity,
        quantization=planned.quantization,
        steps=tuple(steps.records),
    )


def _unpacked(image: AssembledImage | StreamedImage, plan: ImagePlan) -> dict[Digest, int]:
    """The bytes of the files in each layer of the plan, by diff_id; layers of an upstream base come first."""
    own = image.layers[len(plan.base.layers) if plan.base else 0 :]
    return {layer.diff_id: planned.size for layer, planned in zip(own, plan.layers, strict=False)}


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
    server, target = find_server(spec.server), find_target(spec.target, spec.platform, spec.server)
    with steps("detect") as note:
        found = find_model(spec.model, spec.convert)
        note.detail = (
            f"{found.manifest.name} {found.manifest.version}: {found.detection.entry} ({found.detection.format})"
        )
    with steps("convert") as note:
        loaded = load_model(found, target, host)
        origin = f" from {loaded.format}" if loaded.origin else ", as it is"
        note.detail = f"ONNX opset {loaded.artifact.opset}{origin}"
    smaller = _quantize(spec, found, loaded, steps, host)
    model = smaller.model if smaller else loaded
    check_server(server, model, host)
    with steps("resolve") as note:
        base = resolve_base(spec, target, host)
        code = stage_server(server, host)
        locked = resolve(spec, target, model, base, code, host)
        note.detail = ", ".join(
            [f"{base.name} (Python {base.python})", *(f"{w.name} {w.version}" for w in locked.wheels)]
        )
    with steps("verify") as note:
        cases, parity = answer(loaded, host)
        plain, more = answer_plain(loaded, host)
        note.detail = (
            f"golden cases: {len(cases) + len(plain)} answered by the source model, "
            f"{len(parity.cases) + len(more.cases)} agree"
        )
        if parity.edges:
            note.detail += f"; edges: {parity.agreeing_edges} of {len(parity.edges)} answered, all agree"
        cases, plain = (smaller.cases, smaller.plain) if smaller and smaller.cases else (cases, plain)
    with steps("stage") as note:
        answered = AnsweredCases(tensors=cases, plain=plain, parity=parity)
        staged = stage_layers(spec, locked, base, code, stage_model(server, model, answered, keep, host), host)
        note.detail = f"{len(staged.tree.entries)} files and directories"
    with steps("plan") as note:
        plan = plan_image(spec, server, model, base, staged, creation_time(host.environ, base))
        check_layers(plan, host)
        note.detail = ", ".join(dict.fromkeys(layer.role.value for layer in plan.layers))
    return Planned(plan=plan, tree=staged.tree, model=model, locked=locked, parity=parity, quantization=smaller)


def _quantize(spec: BuildSpec, found: FoundModel, loaded: LoadedModel, steps: Steps, host: Host) -> Quantization | None:
    """The model in fewer bits, where somebody asks for it."""
    if asked_mode(spec, loaded) is Quantize.NONE:
        return None
    with steps("quantize") as note:
        target = find_target(spec.target, spec.platform, spec.server)
        smaller = quantize_model(spec, found.source, loaded, target, host)
        note.detail = smaller.summary
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
    name, identifier = planned.model.manifest.name, planned.locked.identifier
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
    manifest = planned.model.manifest
    tag = delivery.tag or Reference.parse(f"{manifest.name}:{manifest.version}")
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
