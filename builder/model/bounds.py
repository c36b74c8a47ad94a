"""What may be asked for to make a model smaller, and what must hold for it (builder/model/quantize.py measures it)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum

AS_IT_WAS = "fp32"
"""The name of the model without quantisation, in tables and locks."""


class Quantize(StrEnum):
    """What a user may ask for. ``auto``: the fastest that holds; ``none``: what model.yaml asks for is not done."""

    FP16 = "fp16"
    INT8_DYNAMIC = "int8-dynamic"
    INT8_STATIC = "int8-static"
    INT4 = "int4"
    AUTO = "auto"
    NONE = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What must hold; None where it need not.

    ``error`` and ``agreement`` as in builder/model/quantize.py; ``cosine`` and ``absolute`` (largest difference of an
    element) as in builder/model/parity.py; ``loss``: by how much the metric may be worse."""

    error: float | None = None
    agreement: float | None = None
    cosine: float | None = None
    absolute: float | None = None
    loss: float | None = None

    def over(self, usual: Bounds) -> Bounds:
        """These bounds, and where they say nothing ``usual``."""
        chosen = {one.name: getattr(self, one.name) for one in fields(self)}
        return Bounds(**{k: v if v is not None else getattr(usual, k) for k, v in chosen.items()})


NO_BOUNDS = Bounds()
USUAL: Mapping[Quantize, Bounds] = {
    Quantize.FP16: Bounds(error=0.01, agreement=0.99, loss=0.01),
    Quantize.INT8_DYNAMIC: Bounds(error=0.4, agreement=0.9, loss=0.01),
    Quantize.INT8_STATIC: Bounds(error=0.4, agreement=0.9, loss=0.01),
    Quantize.INT4: Bounds(error=0.5, agreement=0.9, loss=0.01),
}
