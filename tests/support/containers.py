"""Images for the probe's tests: the real cpu base with a script as its server, and golden cases for it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from builder.assemble.embedded import EmbeddedAssembler
from builder.base.lock import read_lock
from builder.base.spec import load_base
from builder.base.stage import stage_base
from builder.canonical import readable_json
from builder.host import Host
from builder.host.trees import TreeWriter, merged
from builder.model.golden import GoldenCase, write_case
from builder.oci.platform import Platform
from builder.plan.image import ConfigPatch, Healthcheck, ImagePlan, LayerRole
from builder.plan.layering import plan_layers
from builder.probe.runner import ProbedImage

PYTHON = "/usr/bin/python3.13"
SCRIPTS = Path(__file__).parent / "scripts"
ENV = (("PATH", "/usr/bin"), ("PYTHONUNBUFFERED", "1"), ("ORT_DISABLE_TELEMETRY", "1"))


def python_image(
    host: Host,
    directory: Path,
    script: str,
    *,
    env: Mapping[str, str] | None = None,
    user: str = "10001:10001",
    entrypoint: tuple[str, ...] = (PYTHON, "/app/main.py"),
) -> ProbedImage:
    """An image that runs ``tests/support/scripts/SCRIPT.py`` on the cpu base, with golden cases of the model "double".
    The base is staged and its layer written once for each host."""
    platform = Platform.of_this_machine()
    image = load_base("cpu")
    base = stage_base(image, read_lock(image), platform, host)
    writer = TreeWriter(directory / "tree")
    writer.add_file("/app/main.py", (SCRIPTS / f"{script}.py").read_bytes())
    for number in (1, 3):
        writer.add_file(f"/models/double/golden/rows-{number}.npz", write_case(double_case(f"rows-{number}", number)))
    tolerance = {"absolute": 1e-4, "relative": 0.0, "outputs": {}}
    writer.add_file("/models/double/mbuild.json", readable_json({"name": "double", "tolerance": tolerance}))
    own = writer.finish()
    plan = ImagePlan(
        platform=platform,
        base=None,
        layers=plan_layers({LayerRole.BASE: base.entries}, {"double": own.entries}),
        config=ConfigPatch(
            env=(*ENV, *(env or {}).items()),
            entrypoint=entrypoint,
            cmd=(),
            user=user,
            workdir="/",
            ports=(8000,),
            labels=(),
            healthcheck=Healthcheck(test=(PYTHON, "-V")),
        ),
        created="2026-01-02T03:04:05Z",
        annotations=(),
    )
    assembled = EmbeddedAssembler(host).assemble(plan, merged([base, own]), directory / "layout")
    return ProbedImage(layout=assembled.layout, manifest=assembled.manifest, config=assembled.config)


def double_case(name: str, rows: int) -> GoldenCase:
    """What a model that doubles answers: floats, and text that it repeats twice."""
    x = np.linspace(-1, 1, rows * 4, dtype=np.float32).reshape(rows, 4)
    words = np.array([b"one", "zw\u00f6lf".encode()], dtype=np.object_)
    twice = np.array([word * 2 for word in words], dtype=np.object_)
    return GoldenCase(name=name, inputs={"x": x, "words": words}, outputs={"y": x * 2, "twice": twice})
