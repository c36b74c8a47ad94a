"""Which library keeps onnxruntime from loading a provider: it says so in its own log only, and goes on without it."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

_FILES = {"CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "tensorrt"}


def missing(provider: str, runtime: Path) -> str:
    """What the loader says of ``provider`` in the directory of the package onnxruntime; empty where it loads it."""
    name = _FILES.get(provider)
    if name is None:
        return ""
    home = runtime / "capi"
    try:
        # The second one takes symbols from the first without naming it.
        ctypes.CDLL(str(home / "libonnxruntime_providers_shared.so"), ctypes.RTLD_GLOBAL | os.RTLD_NOW)
        ctypes.CDLL(str(home / f"libonnxruntime_providers_{name}.so"), os.RTLD_NOW)
    except OSError as error:
        return reason(str(error))
    return ""


def reason(said: str) -> str:
    """The loader's words in ours (dlerror(3)): ``LIBRARY: cannot open shared object file: No such file or directory``,
    or ``PLACE: undefined symbol: NAME``."""
    library, _, what = said.partition(": ")
    name = Path(library).name
    if what.startswith("cannot open shared object file: No such file"):
        return f"{name} is not there"
    return f"{name}: {what}" if what else said
