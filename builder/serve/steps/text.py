"""Text to token ids, with the tokenizer that the model was trained with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

# The server has threads of its own: a pool in each of them would only take processors from the others.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer

from .arrays import Array, texts
from .faults import InputRefused, StepBroken


class Tokenize:
    """``feeds``: input of the graph, one of ids, attention_mask, type_ids. Texts are cut at ``max_length`` tokens, or
    refused where ``truncate`` is false, and filled up to the longest of the batch."""

    batched = True

    def __init__(self, said: dict[str, Any], folder: Path, *, offsets: bool) -> None:
        self._input: str = said["input"]
        self._feeds: dict[str, str] = said["feeds"]
        self._longest: int = said["max_length"]
        try:
            self._tokenizer: Any = Tokenizer.from_file(str(folder / said["file"]))
        except Exception as error:
            raise StepBroken(f"{folder / said['file']} is not a tokenizer: {error}.") from error
        self._refuses = not said.get("truncate", True)
        if self._refuses:
            self._tokenizer.no_truncation()
        else:
            self._tokenizer.enable_truncation(self._longest, direction=said.get("truncation_side", "right"))
        self._tokenizer.enable_padding(
            direction=said.get("padding_side", "right"),
            pad_id=said["pad_id"],
            pad_type_id=said.get("pad_type_id", 0),
            pad_token=said["pad_token"],
        )
        self._encode = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast

    def feeds(self, inputs: dict[str, Array]) -> tuple[dict[str, Array], Any]:
        """Also what the tokenizer knows of each text: what the step ``tokens`` needs."""
        given = texts(self._input, inputs[self._input])
        encodings = self._encode(given)
        if self._refuses and len(encodings[0]) > self._longest:
            number = max(range(len(given)), key=lambda each: sum(encodings[each].attention_mask))
            count = sum(encodings[number].attention_mask)
            raise InputRefused(
                f"input '{self._input}': element {number} has {count} tokens, the model takes {self._longest}"
            )
        feeds = {
            graph: np.array([getattr(encoding, field) for encoding in encodings], np.int64)
            for graph, field in self._feeds.items()
        }
        return feeds, (given, encodings)
