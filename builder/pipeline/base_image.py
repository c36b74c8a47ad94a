"""A base of base-images/ as an image of its own: built once, pushed once, and then named with --base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.assemble.embedded import EmbeddedAssembler
from builder.assemble.image import AssembledImage
from builder.assemble.index import index_graph, write_index
from builder.host import Host
from builder.host.trees import merged
from builder.oci.graph import Graph, layout_graph
from builder.oci.manifest import Document
from builder.oci.platform import Platform
from builder.pipeline.base import own_base
from builder.pipeline.checks import check_cache, check_output
from builder.pipeline.image import creation_time
from builder.pipeline.libraries import stage_libraries
from builder.plan.image import ConfigPatch, Healthcheck, ImagePlan, LayerRole
from builder.plan.layering import plan_layers
from builder.targets.bytecode import compile_bytecode


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltBase:
    """The images of the platforms, in one layout, and their index if they are several."""

    images: tuple[AssembledImage, ...]
    index: Document | None

    @property
    def graph(self) -> Graph:
        return index_graph(self.index, self.images) if self.index else layout_graph(self.images[0].layout)


def build_base(name: str, platforms: Sequence[Platform], output: Path | None, host: Host) -> BuiltBase:
    """The base as an image, or an index of images, in the layout ``output`` (default: a place in the cache)."""
    check_output(output)
    check_cache(host)
    slug = "+".join(platform.slug for platform in platforms)
    place = output or host.store.root / "images" / f"base-{name}" / slug
    images = tuple(_build(name, platform, place, host) for platform in platforms)
    return BuiltBase(images=images, index=write_index(images))


def _build(name: str, platform: Platform, place: Path, host: Host) -> AssembledImage:
    base = own_base(name, platform, host.environ)
    assert base.own is not None, "own_base gives a base of ours"
    image = base.own.image
    rootfs = base.own.stage(platform, host)
    interpreter = base.own.stage(Platform.of_this_machine(), host)
    tree = merged((rootfs, compile_bytecode(interpreter, rootfs, base.python, host)))
    gpu = base.gpu.gpu if base.gpu else None
    parts = {part.name: part.why for part in gpu.parts} if gpu else {}
    libraries = stage_libraries(parts, base, platform, host)
    created = creation_time(host.environ, base)
    python = str(base.interpreter)
    facts = gpu.face(tuple(parts)).to_labels() if gpu else {}
    labels = {"org.opencontainers.image.title": f"mbuild-base-{name}", **facts}
    plan = ImagePlan(
        platform=platform,
        base=None,
        layers=plan_layers(
            {LayerRole.BASE: tree.entries}, libraries={name: part.entries for name, part in libraries.trees.items()}
        ),
        config=ConfigPatch(
            env=(("PATH", "/usr/local/bin:/usr/bin:/bin"), *image.env),
            entrypoint=(python,),
            cmd=(),
            user=f"{image.user.uid}:{image.user.uid}",
            workdir="/",
            ports=(),
            labels=tuple(sorted(labels.items())),
            healthcheck=Healthcheck(test=(python, "-c", "pass")),
        ),
        created=created,
        annotations=(("org.opencontainers.image.created", created),),
    )
    return EmbeddedAssembler(host).assemble(plan, merged((tree, *libraries.trees.values())), place)
