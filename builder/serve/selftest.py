"""The ``selftest`` command: every golden case that the image carries, answered here, as a table or as JSON.

Opens no port, writes nothing but its answer. 0 where all cases are right, 1 where one is not or nothing was tested.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .device import begin_survey
from .loading import open_models
from .observe.logs import Log
from .settings import SettingError, Settings
from .starting import CannotStart

if TYPE_CHECKING:
    from .models.golden import Answered

_HEADS = ("MODEL", "CASE", "SECONDS", "MAX ABS", "MAX REL", "ALLOWED", "VERDICT")


def run(environ: Mapping[str, str], *, as_json: bool) -> int:
    """The process's exit code."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        settings = Settings.from_environ(environ)
        log, survey = Log(settings.log_level), begin_survey(settings)
        if survey:
            survey.device(log)
    except (SettingError, CannotStart) as error:
        return _refused(str(error), as_json)
    from .models import golden
    from .models.model_folder import ModelUnusable

    try:
        models = open_models(settings, log, survey)
    except (CannotStart, ModelUnusable) as error:
        return _refused(str(error), as_json)
    if not models:
        return _refused(f"There are no models in {settings.models} (MBUILD_MODELS).", as_json)
    answers = list(golden.self_test(models))
    wrong = [each.problem for each in answers if each.problem]
    if as_json:
        _write(passed=not wrong, problem="", cases=[each.to_json() for each in answers])
    else:
        sys.stdout.write(table([_row(each) for each in answers]))
        sys.stdout.write("".join(f"{problem}\n" for problem in wrong))
    return int(bool(wrong))


def table(rows: list[tuple[str, ...]]) -> str:
    """Columns as wide as they must be."""
    every = [_HEADS, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(_HEADS))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in every)
    return "".join(f"{line}\n" for line in lines)


def _row(each: Answered) -> tuple[str, ...]:
    verdict = "wrong" if each.problem else "right"
    worst = each.worst
    if worst is None:
        return each.model, each.case or "-", f"{each.seconds:.4f}", "-", "-", "-", verdict
    allowed = f"{worst.allowed[0]:g} + {worst.allowed[1]:g} rel"
    figures = f"{worst.absolute:.3g}", f"{worst.relative:.3g}", allowed
    return each.model, each.case, f"{each.seconds:.4f}", *figures, verdict


def _refused(sentence: str, as_json: bool) -> int:
    if as_json:
        _write(passed=False, problem=sentence, cases=[])
    else:
        sys.stderr.write(f"{sentence}\n")
    return 1


def _write(*, passed: bool, problem: str, cases: list[dict[str, Any]]) -> None:
    value = {"schema": 1, "passed": passed, "problem": problem, "cases": cases}
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
