"""A base of base-images/ as an image of its own: built once, pushed once, and then named with --base."""

from __future__ import annotations

from pathlib import Path

from builder.assemble.embedded import EmbeddedAssembler
from builder.assemble.image import AssembledImage
from builder.base.lock import read_lock
from builder.base.spec import load_base
from builder.host import Host
from builder.host.trees import merged
from builder.oci.platform import Platform
from builder.pipeline.base import own_base
from builder.pipeline.checks import check_cache, check_output
from builder.pipeline.image import creation_time
from builder.plan.image import ConfigPatch, Healthcheck, ImagePlan, LayerRole
from builder.plan.layering import plan_layers
from builder.targets.bytecode import compile_bytecode


def build_base(name: str, platform: Platform, output: Path | None, host: Host) -> AssembledImage:
    """The base as an image in the layout ``output`` (default: a place in the cache)."""
    check_output(output)
    check_cache(host)
    base = own_base(name, platform)
    image = load_base(name)
    lock = read_lock(image)
    assert base.own is not None, "own_base gives a base of ours"
    rootfs = base.own.stage(platform, host)
    interpreter = base.own.stage(Platform.of_this_machine(), host)
    tree = merged((rootfs, compile_bytecode(interpreter, rootfs, lock.python, host)))
    created = creation_time(host.environ, base)
    python = str(base.interpreter)
    plan = ImagePlan(
        platform=platform,
        base=None,
        layers=plan_layers({LayerRole.BASE: tree.entries}),
        config=ConfigPatch(
            env=(("PATH", "/usr/local/bin:/usr/bin:/bin"), *image.env),
            entrypoint=(python,),
            cmd=(),
            user=f"{image.user.uid}:{image.user.uid}",
            workdir="/",
            ports=(),
            labels=(("org.opencontainers.image.title", f"mbuild-base-{name}"),),
            healthcheck=Healthcheck(test=(python, "-c", "pass")),
        ),
        created=created,
        annotations=(("org.opencontainers.image.created", created),),
    )
    place = output or host.store.root / "images" / f"base-{name}" / platform.slug
    return EmbeddedAssembler(host).assemble(plan, tree, place)
