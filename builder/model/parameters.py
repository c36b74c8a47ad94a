"""How many parameters a model has, and in which datatypes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameters:
    """``precision`` are the datatypes that they are in, in the words of model-spec (float32, int8 ...), the one of most
    parameters first. A count of 0: nobody knows."""

    count: int = 0
    precision: tuple[str, ...] = ()

    def __add__(self, other: Parameters) -> Parameters:
        both = dict.fromkeys((*self.precision, *other.precision))
        return Parameters(count=self.count + other.count, precision=tuple(both))


UNKNOWN = Parameters()
