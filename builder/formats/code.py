"""Refuses a model file that would run code of its own when it is loaded, before any process sees it.

What a format can hide is read by that format's own module, statically; this is the one place that asks them.
"""

from __future__ import annotations

from collections.abc import Callable

from builder.errors import UnsupportedModel
from builder.formats.huggingface import code_of
from builder.formats.keras import code_in_config
from builder.formats.paddle import outward_paddle_operators
from builder.formats.saved_model import outward_operations
from builder.formats.sklearn import uncommon_callables
from builder.formats.tflite import outward_operators
from builder.formats.torch_code import code_in_program, code_in_script, code_in_weights
from builder.model.source import Detection, ModelSource

_SHOWN = 8


class ModelRunsCode(UnsupportedModel):
    code = "model-runs-code"
    message = "{path} would run code of its own when it is loaded; it names {callables}"
    hint = (
        "nothing of it was run. If you made it, or trust who did, `--allow-code` loads it, without network and in the "
        "converter's sandbox only"
    )


_READERS: dict[str, Callable[[ModelSource, Detection], tuple[str, ...]]] = {
    "sklearn": uncommon_callables,
    "huggingface": code_of,
    "keras": code_in_config,
    "tensorflow": outward_operations,
    "tflite": outward_operators,
    "paddle": outward_paddle_operators,
    "torch-state": code_in_weights,
    "torchscript": code_in_script,
    "torch-export": code_in_program,
}
"""By the name of the format: what a model would run that is not on the published list of harmless callables, or is no
operation on numbers."""


def require_harmless(source: ModelSource, found: Detection) -> None:
    """Raise ModelRunsCode, or what the format raises where its file cannot be read."""
    reader = _READERS.get(found.format)
    names = reader(source, found) if reader else ()
    if names:
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise ModelRunsCode(path=found.entry, callables=", ".join(names[:_SHOWN]) + more)
