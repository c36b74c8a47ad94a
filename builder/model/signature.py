"""The signature of a model: its input and output tensors, in the words of the Open Inference Protocol v2."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Datatype(StrEnum):
    """Tensor datatypes of the Open Inference Protocol (and BF16, which only the binary extension can carry)."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"
    BF16 = "BF16"


Dim = int | str
"""A fixed size, or the name of a dynamic dim ("" where the graph gives none)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorSpec:
    """One input or output: ``shape`` has an int for a fixed dim and a name for a dynamic one."""

    name: str
    datatype: Datatype
    shape: tuple[Dim, ...]

    @property
    def protocol_shape(self) -> list[int]:
        """As the protocol writes it: -1 for a dynamic dim."""
        return [dim if isinstance(dim, int) else -1 for dim in self.shape]

    def to_json(self) -> dict[str, object]:
        return {"name": self.name, "datatype": self.datatype.value, "shape": list(self.shape)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """All inputs and outputs, in the graph's order."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "inputs": [tensor.to_json() for tensor in self.inputs],
            "outputs": [tensor.to_json() for tensor in self.outputs],
        }
