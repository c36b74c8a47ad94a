"""What sentence-transformers does behind the transformer, as one torch module: pooling, dense layers, normalisation.

Stands beside the Hugging Face worker and is imported by it. ``modules.json`` lists the parts and their directories;
the arithmetic is that of sentence-transformers 6.2 (Pooling, Dense, LayerNorm, Normalize).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch_common
from worker_io import Failure

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""In the order in which sentence-transformers puts the vectors of several side by side."""

_VECTOR = "sentence_embedding"
_ACTIVATIONS = {"Identity", "Tanh", "ReLU", "GELU", "Sigmoid"}


def parts(root: Path) -> list[dict[str, Any]]:
    """The modules behind the transformer, in order; empty where this is no directory of sentence-transformers."""
    path = root / "modules.json"
    if not path.is_file():
        return []
    return sorted(json.loads(path.read_text(encoding="utf-8")), key=lambda part: part.get("idx", 0))[1:]


class Head(torch.nn.Module):  # type: ignore[misc]
    """From token embeddings and mask to ``sentence_embedding``."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        steps = [_step(root / part["path"], str(part["type"]).rpartition(".")[2]) for part in parts(root)]
        if not isinstance(steps[0], Pooling):
            raise Failure("unsupported", "modules.json has no Pooling behind its Transformer")
        self.pooling, self.rest = steps[0], torch.nn.ModuleList(steps[1:])

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        vector: torch.Tensor = self.pooling(tokens, mask)
        for step in self.rest:
            vector = step(vector)
        return vector


def _step(directory: Path, kind: str) -> torch.nn.Module:
    path = directory / "config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    ends = {settings.get(name) or _VECTOR for name in ("module_input_name", "module_output_name")}
    if ends != {_VECTOR} or settings.get("use_residual"):
        raise Failure("unsupported", f"{directory.name} goes another way than from {_VECTOR} to {_VECTOR}")
    if kind == "Pooling":
        return Pooling(settings)
    if kind == "Normalize":
        return Normalize()
    if kind == "Dropout":
        return torch.nn.Identity()
    if kind == "Dense":
        return _dense(directory, settings)
    if kind == "LayerNorm":
        return _filled(torch.nn.LayerNorm(settings["dimension"]), directory, "norm.")
    told = f"mbuild knows no {kind} of sentence-transformers; it knows Pooling, Dense, LayerNorm, Dropout and Normalize"
    raise Failure("unsupported", told)


def _dense(directory: Path, settings: dict[str, Any]) -> torch.nn.Module:
    activation = str(settings.get("activation_function", "torch.nn.modules.activation.Tanh")).rpartition(".")[2]
    if activation not in _ACTIVATIONS:
        raise Failure("unsupported", f"the activation {activation} of a Dense layer is not one of {_ACTIVATIONS}")
    linear = torch.nn.Linear(settings["in_features"], settings["out_features"], bias=settings.get("bias", True))
    return torch.nn.Sequential(_filled(linear, directory, "linear."), getattr(torch.nn, activation)())


def _filled(layer: torch.nn.Module, directory: Path, prefix: str) -> torch.nn.Module:
    try:
        if (directory / "model.safetensors").is_file():
            found = safetensors.torch.load_file(directory / "model.safetensors")
        else:
            found = torch.load(directory / "pytorch_model.bin", map_location="cpu", weights_only=True)
        layer.load_state_dict({name.removeprefix(prefix): tensor.float() for name, tensor in found.items()})
    except Exception as error:
        raise Failure("bad-model", f"{directory.name}: {torch_common.words(error)}") from error
    return layer


class Normalize(torch.nn.Module):  # type: ignore[misc]
    def forward(self, vector: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(vector, p=2.0, dim=1)


class Pooling(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__()
        said = settings.get("pooling_mode") or [mode for flag, mode in _FLAGS.items() if settings.get(flag)]
        self.modes = [said] if isinstance(said, str) else list(said)
        unknown = [mode for mode in self.modes if mode not in _POOLINGS]
        if unknown or not self.modes:
            raise Failure(
                "unsupported", f"the pooling {unknown or 'of 1_Pooling/config.json'} is none that mbuild knows"
            )

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        weights = mask.unsqueeze(-1).to(tokens.dtype)
        return torch.cat([_POOLINGS[mode](tokens, weights) for mode in self.modes], dim=1)


def _summed(tokens: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return (tokens * weights).sum(1), weights.sum(1).clamp(min=1e-9)


def _mean(tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total, count = _summed(tokens, weights)
    return total / count


def _mean_sqrt(tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    total, count = _summed(tokens, weights)
    return total / count.sqrt()


def _weighted(tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _mean(tokens, weights * (_places(tokens) - weights.argmax(1, keepdim=True)))


def _places(tokens: torch.Tensor) -> torch.Tensor:
    """1, 2, 3 ... along the text."""
    return torch.ones_like(tokens[:, :, :1]).cumsum(1)


def _max(tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return tokens.masked_fill(weights == 0, -torch.inf).max(1).values


def _first(tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _at(tokens, weights.argmax(1, keepdim=True))


def _last(tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return _at(tokens, (weights * _places(tokens)).argmax(1, keepdim=True))


def _at(tokens: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
    return tokens.gather(1, place.expand(-1, -1, tokens.shape[-1])).squeeze(1)


_POOLINGS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cls": _first,
    "max": _max,
    "mean": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean": _weighted,
    "lasttoken": _last,
}
