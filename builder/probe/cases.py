"""The golden cases that an image carries: ``/models/NAME/golden/*.npz``, with the tolerances of ``mbuild.json``."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.errors import ProbeError
from builder.host.fs import temporary_directory
from builder.model.golden import GoldenCase, Tolerance, read_case
from builder.model.manifest import Tolerances
from builder.probe.contents import ImageContents


class NoGoldenCases(ProbeError):
    code = "no-golden-cases"
    message = "the image carries no golden case below /models, so there is nothing to compare its answers with"
    hint = "images that mbuild makes carry them; build it again"


class UnreadableGolden(ProbeError):
    code = "unreadable-golden"
    message = "{path} in the image cannot be read: {reason}"
    hint = "the image was changed after mbuild made it; build it again"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCases:
    """The cases of one model, by the name that the server gives it."""

    model: str
    cases: tuple[GoldenCase, ...]
    tolerances: Tolerances


def carried_cases(contents: ImageContents) -> tuple[ModelCases, ...]:
    """The cases of all models in the image, sorted. Raises NoGoldenCases and UnreadableGolden."""
    found: dict[str, list[GoldenCase]] = {}
    for path, raw in sorted(contents.kept.items()):
        if path.suffix == ".npz":
            found.setdefault(path.parts[2], []).append(_case(path, raw))
    if not found:
        raise NoGoldenCases
    return tuple(
        ModelCases(model=model, cases=tuple(cases), tolerances=_tolerances(contents, model))
        for model, cases in found.items()
    )


def _case(path: PurePosixPath, raw: bytes) -> GoldenCase:
    with temporary_directory() as directory:
        file = Path(directory, path.name)
        file.write_bytes(raw)
        try:
            return read_case(file)
        except (ValueError, OSError, KeyError, zipfile.BadZipFile) as error:
            raise UnreadableGolden(path=path, reason=error) from error


def _tolerances(contents: ImageContents, model: str) -> Tolerances:
    """As ``Tolerances.to_json`` wrote them; the defaults where the image has no description (another server)."""
    path = PurePosixPath("/models", model, "mbuild.json")
    if path not in contents.kept:
        return Tolerances()
    try:
        value = json.loads(contents.kept[path])["tolerance"]
        outputs = tuple((str(name), _tolerance(each)) for name, each in sorted(value.get("outputs", {}).items()))
        return Tolerances(default=_tolerance(value), outputs=outputs)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableGolden(path=path, reason=f"its tolerance is malformed ({error})") from error


def _tolerance(value: Mapping[str, Any]) -> Tolerance:
    return Tolerance(absolute=float(value["absolute"]), relative=float(value["relative"]))
