"""Writes down the golden cases that a build would make, answered, so that every machine packs the same ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from builder.errors import UsageError
from builder.host import Host
from builder.host.fs import atomic_write
from builder.model.golden import write_case
from builder.pipeline.answered import AnsweredModel, answer_model
from builder.pipeline.collection import find_image, for_each, load_image
from builder.pipeline.model import FoundModel
from builder.plan.spec import BuildSpec
from builder.targets import find_target


class GoldenThere(UsageError):
    code = "golden-there"
    message = "{path} has golden cases of its own: {names}"
    hint = "they are packed as they are; move them away to have new ones made"


def write_golden(spec: BuildSpec, host: Host) -> tuple[Path, ...]:
    """The files below ``golden/`` of each model's directory. Raises GoldenThere, and what a build raises."""
    found = find_image(spec.model, spec.convert)
    for one in found.models:
        there = [str(file.path) for file in one.source.files if file.path.parts[0] == "golden"]
        if there:
            raise GoldenThere(path=_place(spec, one), names=", ".join(there[:5]))
    image = load_image(found, find_target(spec.target, spec.platform, spec.server), host)
    answered = for_each(image.models, answer_model, host)
    places = [_place(spec, one) for one in found.models]
    return tuple(path for one, place in zip(answered, places, strict=True) for path in _write(one, place))


def _place(spec: BuildSpec, one: FoundModel) -> Path:
    """The model's directory, written as the user wrote it."""
    return spec.model / one.source.directory.relative_to(spec.model.resolve())


def _write(one: AnsweredModel, place: Path) -> Iterator[Path]:
    for prefix, cases in (("", one.cases), ("plain-", one.plain)):
        for case in cases:
            path = place / "golden" / f"{prefix}{case.name}.npz"
            atomic_write(path, write_case(case))
            yield path
