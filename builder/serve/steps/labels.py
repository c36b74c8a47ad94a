"""From scores to the labels that the model was trained with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array, objects


def softmax(scores: Array) -> Array:
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=-1, keepdims=True))


def sigmoid(scores: Array) -> Array:
    """Without overflow on either side."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scores)))


_ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"softmax": softmax, "sigmoid": sigmoid, "none": np.asarray}


class Classify:
    """``label``, the one with the highest score, and ``scores``, of all labels in their order."""

    def __init__(self, said: dict[str, Any], folder: Path) -> None:
        self.wanted: list[str] = [said["scores"]]
        self._activation = _ACTIVATIONS[said["activation"]]
        self._labels: list[str] = said["labels"]

    def outputs(self, results: dict[str, Array], inputs: dict[str, Array], notes: object) -> dict[str, Array]:
        scores = self._activation(results[self.wanted[0]].astype(np.float32))
        best = scores.argmax(axis=-1)
        return {"label": objects((self._labels[each] for each in best.ravel()), best.shape), "scores": scores}


class Tokens:
    """``entities``: for each text a JSON list with an entry for every token that has another label than O."""

    def __init__(self, said: dict[str, Any], folder: Path) -> None:
        self.wanted: list[str] = [said["scores"]]
        self._labels: list[str] = said["labels"]

    def outputs(self, results: dict[str, Array], inputs: dict[str, Array], notes: Any) -> dict[str, Array]:
        texts, encodings = notes
        probabilities = softmax(results[self.wanted[0]].astype(np.float32))
        rows = zip(texts, encodings, probabilities, strict=True)
        return {"entities": objects(json.dumps(self._entities(*row), ensure_ascii=False) for row in rows)}

    def _entities(self, text: str, encoding: Any, probabilities: Array) -> list[dict[str, object]]:
        best, scores = probabilities.argmax(axis=-1).tolist(), probabilities.max(axis=-1).tolist()
        tokens = zip(encoding.special_tokens_mask, encoding.offsets, best, scores, strict=True)
        return [
            {
                "start": start,
                "end": end,
                "text": text[start:end],
                "label": self._labels[label],
                "score": round(score, 6),
            }
            for special, (start, end), label, score in tokens
            if not special and start < end and self._labels[label] != "O"
        ]
