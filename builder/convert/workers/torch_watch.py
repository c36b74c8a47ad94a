"""Writes down every value that PyTorch computes while a model answers, for finding where an ONNX model departs.

Stands beside the workers; imported only where torch is loaded already. It watches the dispatcher, below modules,
programs and TorchScript alike, so it needs to know none of them.
"""

from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

MAX_BYTES = 1 << 30


class Watch(TorchDispatchMode):  # type: ignore[misc]
    """``values`` are what operators gave, ``weights`` the tensors that none of them gave."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[Any] = []
        self.weights: list[Any] = []
        self._known: dict[int, torch.Tensor] = {}
        self._bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for tensor in _tensors((args, kwargs)):
            self._keep(tensor, self.weights)
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._keep(tensor, self.values)
        return result

    def _keep(self, tensor: torch.Tensor, kept: list[Any]) -> None:
        """Once, and as it is now: later operators may write into it."""
        if id(tensor) in self._known and kept is self.weights:
            return
        self._known[id(tensor)] = tensor  # held, so that no other tensor gets its id
        if not tensor.is_floating_point() or tensor.layout is not torch.strided or self._bytes > MAX_BYTES:
            return
        array = np.array(tensor.detach().to(torch.float32))
        self._bytes += array.nbytes
        kept.append(array)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in _tensors(item)]
