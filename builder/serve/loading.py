"""What comes before ready: imports, sessions, warm-up runs, the self-test; and how long each took."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .device import Device, GpuUnusable, device_in
from .observe.logs import Log
from .settings import Settings
from .starting import CannotStart

if TYPE_CHECKING:
    from .gpu.survey import Survey
    from .models.inference import Served
    from .models.plain import AnyModel


@dataclass(frozen=True, slots=True)
class Loaded:
    served: list[Served]
    device: Device
    facts: dict[str, object]


def open_models(settings: Settings, log: Log, survey: Survey | None, names: Sequence[str] = ()) -> list[AnyModel]:
    """Where the image's device is, before anything large is imported. Raises CannotStart and ModelUnusable."""
    device = device_in(settings, survey, log)
    from .models import engine

    try:
        return engine.load_models(Path(settings.models), names, device)
    except GpuUnusable as error:
        if survey is None:
            raise
        survey.instead(error, log)
        return engine.load_models(Path(settings.models), names, device_in(settings, survey, log))


def load(settings: Settings, log: Log, survey: Survey | None) -> Loaded:
    """Imports, sessions, warm-up runs and, if asked for, the self-test, with the seconds of each. Raises CannotStart,
    with a line in the log for each golden case that is not answered as it should be."""
    if survey:
        survey.device(log)
    begun = time.perf_counter()
    from .models import engine, golden, inference
    from .models.model_folder import ModelUnusable

    imported = time.perf_counter()
    try:
        names = [name.strip() for name in settings.load_models.split(",") if name.strip()]
        models = open_models(settings, log, survey, names)
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
    device = device_in(settings, survey, log)
    return Loaded(served, device, {**device.said, **facts})


def _described(served: Served) -> dict[str, str]:
    model = served.model
    engine = {"engine": model.device.engine} if model.device.engine else {}
    return {"name": model.name, "version": model.version, "provider": model.provider, **engine, **served.batching_said}
