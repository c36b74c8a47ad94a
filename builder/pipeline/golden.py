"""Writes down the golden cases that a build would make, answered, so that every machine packs the same ones."""

from __future__ import annotations

from pathlib import Path

from builder.errors import UsageError
from builder.host import Host
from builder.host.fs import atomic_write
from builder.model.golden import write_case
from builder.pipeline.model import find_model, load_model
from builder.pipeline.verify import answer, answer_plain
from builder.plan.spec import BuildSpec
from builder.targets import find_target


class GoldenThere(UsageError):
    code = "golden-there"
    message = "{path} has golden cases of its own: {names}"
    hint = "they are packed as they are; move them away to have new ones made"


def write_golden(spec: BuildSpec, host: Host) -> tuple[Path, ...]:
    """The files below ``golden/`` of the model directory. Raises GoldenThere, and what a build raises."""
    found = find_model(spec.model, spec.convert)
    there = [str(file.path) for file in found.source.files if file.path.parts[0] == "golden"]
    if there:
        raise GoldenThere(path=spec.model, names=", ".join(there[:5]))
    model = load_model(found, find_target(spec.target, spec.platform, spec.server), host)
    sides = (("", answer(model, host)[0]), ("plain-", answer_plain(model, host)[0]))
    written = []
    for prefix, cases in sides:
        for case in cases:
            path = spec.model / "golden" / f"{prefix}{case.name}.npz"
            atomic_write(path, write_case(case))
            written.append(path)
    return tuple(written)
