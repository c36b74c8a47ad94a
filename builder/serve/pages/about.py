"""What people want to know of a model and the protocol has no place for: ``x-model`` of its tag in openapi.json."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..models.engine import RUNTIME_VERSION

if TYPE_CHECKING:
    from ..models.plain import AnyModel


def about(model: AnyModel) -> dict[str, Any]:
    """Version, licence, provider and runtime; how people call it, and with which shapes it was asked
    before; its labels; what was proven when it was built."""
    return {
        "version": str(model.folder.manifest.get("version") or model.version),
        "licence": str(model.folder.manifest.get("licence") or ""),
        "provider": model.provider,
        "device": model.device.said,
        "runtime": f"onnxruntime {RUNTIME_VERSION}",
        "takes": _takes(model),
        "shapes": _shapes(model),
        "labels": model.labels,
        "verified": _verified(model),
    }


def _takes(model: AnyModel) -> str:
    """image, text or tensors: what a form for it asks for."""
    if not model.signature.takes_files:
        return "tensors"
    return "image" if model.takes_images else "text"


def _shapes(model: AnyModel) -> dict[str, list[int]]:
    """Of the golden case that examples are made of, also where that is too long for one."""
    case = model.folder.golden()
    given = case.inputs if case else {}
    found = {tensor.name: given.get(tensor.name, given.get(tensor.graph_name)) for tensor in model.signature.inputs}
    return {name: list(array.shape) for name, array in found.items() if array is not None}


def _verified(model: AnyModel) -> dict[str, Any] | None:
    """From parity.json, which lies beside the graph; None where there is none that can be read."""
    try:
        parity = json.loads((model.graph_folder.path / "parity.json").read_bytes())
        return {
            "source": str(parity["source"]),
            "versions": {str(name): str(version) for name, version in parity["versions"].items()},
            "cases": len(parity["cases"]),
            "absolute": float(parity["tolerance"]["absolute"]),
            "relative": float(parity["tolerance"]["relative"]),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
