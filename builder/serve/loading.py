"""What comes before ready: imports, sessions, warm-up runs, the self-test; and how long each took."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .observe.logs import Log
from .settings import Settings

if TYPE_CHECKING:
    from .models.inference import Served


class CannotStart(Exception):
    """The message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Loaded:
    served: list[Served]
    facts: dict[str, object]


def load(settings: Settings, log: Log) -> Loaded:
    """Imports, sessions, warm-up runs and, if asked for, the self-test, with the seconds of each. Raises CannotStart,
    with a line in the log for each golden case that is not answered as it should be."""
    begun = time.perf_counter()
    from .models import engine, golden, inference
    from .models.model_folder import ModelUnusable

    imported = time.perf_counter()
    try:
        names = [name.strip() for name in settings.load_models.split(",") if name.strip()]
        models = engine.load_models(Path(settings.models), names)
        opened = time.perf_counter()
        warm_ups = [golden.warm_up(model) for model in models]
        warm = time.perf_counter()
        served = [inference.opened(*each, settings) for each in zip(models, warm_ups, strict=True)]
        checked = time.perf_counter()
        cases = golden.require_right(models, log) if settings.selftest else 0
    except ModelUnusable as error:
        raise CannotStart(str(error)) from error
    facts: dict[str, object] = {
        "models": [_described(each) for each in served],
        "onnxruntime": engine.RUNTIME_VERSION,
        "seconds_imports": round(imported - begun, 3),
        "seconds_sessions": round(opened - imported, 3),
        "seconds_warm_up": round(warm - opened, 3),
        "seconds_batch_check": round(checked - warm, 3),
    }
    if settings.selftest:
        facts |= {"selftest_cases": cases, "seconds_selftest": round(time.perf_counter() - checked, 3)}
    return Loaded(served, facts)


def _described(served: Served) -> dict[str, str]:
    model = served.model
    return {"name": model.name, "version": model.version, "provider": model.provider, **served.batching_said}
