"""A session of onnxruntime on a GPU, or none: onnxruntime itself would go on with the CPU, and say nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from ..device import CPU_PROVIDER
from .libraries import missing


class NotOnGpu(Exception):
    """Why the provider cannot be had, as a sentence without its beginning and its full stop."""


def open_session(graph: Path, options: Any, providers: Mapping[str, Mapping[str, str]]) -> Any:
    """``providers`` with their options: the one that is wanted, then those that take what it leaves, at last the CPU,
    where shapes are computed. Raises NotOnGpu, and what onnxruntime raises of the graph."""
    wanted, available = next(iter(providers)), onnxruntime.get_available_providers()
    for name in providers:
        if name not in available:
            raise NotOnGpu(f"this onnxruntime does not have {name}")
    session = onnxruntime.InferenceSession(
        str(graph),
        options,
        providers=[*providers, CPU_PROVIDER],
        provider_options=[*map(dict, providers.values()), {}],
        enable_fallback=0,
    )
    if session.get_providers()[0] != wanted:
        why = missing(wanted, Path(onnxruntime.__file__).parent) or "onnxruntime does not say why"
        raise NotOnGpu(f"onnxruntime cannot use {wanted}: {why}")
    return session
