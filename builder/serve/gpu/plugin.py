"""An execution provider that is a library of its own (onnxruntime, "Plugin Execution Provider Libraries")."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import onnxruntime

from .libraries import reason

_LOADED = "Failed to load library "
_lock = threading.Lock()
_registered: set[str] = set()


class PluginUnusable(Exception):
    """The message says why, without a full stop."""


def add_to(options: Any, provider: str, library: Path, told: dict[str, str]) -> None:
    """The provider on the GPU ``told["device_id"]`` becomes that of a session with ``options``. Raises PluginUnusable:
    onnxruntime itself would go on with the CPU."""
    _register(provider, library)
    found = [each for each in onnxruntime.get_ep_devices() if each.ep_name == provider]
    wanted = told["device_id"]
    number = next((each for each, one in enumerate(found) if one.ep_options.get("device_id") == wanted), int(wanted))
    if number >= len(found):
        there = f"{len(found)} GPUs" if found else "no GPU"
        raise PluginUnusable(f"{provider} finds {there} that it knows (below /sys/class/drm and /sys/bus/pci)")
    options.add_provider_for_devices([found[number]], {})


def _register(provider: str, library: Path) -> None:
    """Once in a process, whichever thread loads a model."""
    with _lock:
        if provider in _registered:
            return
        try:
            onnxruntime.register_execution_provider_library(provider, str(library))
        except Exception as error:
            raise PluginUnusable(f"{library.name} cannot be used: {_why(str(error))}") from error
        _registered.add(provider)


def _why(said: str) -> str:
    """The loader's words, where it is the loader that refuses."""
    before, _, after = said.partition(" with error: ")
    return reason(after) if _LOADED in before else " ".join(said.split())[:300]
