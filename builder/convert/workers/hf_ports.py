"""What a model of transformers takes and gives: names, datatypes, dims, and example inputs that mean something to it.

Stands beside the Hugging Face worker and is imported by it. Token ids stay within the vocabulary, end with the model's
own end of sentence and are padded behind it, with a mask that says so; pixels are what the model's normalisation makes
of black to white; sound is noise of variance one, as the feature extractors give it.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from worker_io import Arrays, Failure

Dim = int | str
Sizes = Mapping[str, int]

PROBES: tuple[Sizes, ...] = (
    {"batch": 2, "sequence": 11, "decoder_sequence": 5, "height": 96, "width": 64, "samples": 2400},
    {"batch": 3, "sequence": 7, "decoder_sequence": 9, "height": 64, "width": 128, "samples": 4000},
)
"""Two sizes for every dim, no two of them alike in both, so that an output's shape says which dims it has."""

_JUDGES = ("ForSequenceClassification", "ForQuestionAnswering", "ForTokenClassification")
_WIDEST = 1 << 21
"""Numbers in the outputs of a case: 8 MB of FP32 that travel in the image."""


@dataclass(frozen=True)
class Port:
    """An input: ``shape`` has a name for a dynamic dim."""

    name: str
    datatype: str
    shape: tuple[Dim, ...]

    def sized(self, sizes: Sizes) -> tuple[int, ...]:
        return tuple(dim if isinstance(dim, int) else sizes[dim] for dim in self.shape)


@dataclass(frozen=True)
class Words:
    """The vocabulary: ``size`` of it, the ids that random text leaves out, and what ends and pads a text."""

    size: int
    special: tuple[int, ...]
    end: int | None
    pad: int


def inputs_of(model: Any) -> tuple[Port, ...]:
    """By what the model calls its main input. Raises Failure for one that mbuild knows no shapes for."""
    main = model.main_input_name
    if main == "input_ids":
        return _text(model)
    if main == "pixel_values":
        return (_image(model.config),)
    if main == "input_values" and not getattr(model.config, "num_mel_bins", None):
        return (Port("input_values", "FP32", ("batch", "samples")),)
    told = f"{type(model).__name__} takes {main}; mbuild knows the shapes of input_ids, pixel_values and input_values"
    raise Failure("unsupported", told)


def _text(model: Any) -> tuple[Port, ...]:
    taken, kind = inspect.signature(model.forward).parameters, type(model).__name__
    if "pixel_values" in taken:
        raise Failure("unsupported", f"{kind} takes text and images at once; mbuild converts models of one of them")
    names = [name for name in ("input_ids", "attention_mask") if name in taken]
    if "token_type_ids" in taken and (getattr(model.config, "type_vocab_size", 0) or 0) > 1:
        names.append("token_type_ids")
    ports = [Port(name, "INT64", ("batch", "sequence")) for name in names]
    # Who judges a text has its decoder read the text itself.
    if model.config.is_encoder_decoder and "decoder_input_ids" in taken and not kind.endswith(_JUDGES):
        ports.append(Port("decoder_input_ids", "INT64", ("batch", "decoder_sequence")))
    return tuple(ports)


def _image(config: Any) -> Port:
    side = getattr(config, "image_size", None)
    height, width = side if isinstance(side, list | tuple) else (side, side)
    channels = getattr(config, "num_channels", 3)
    return Port("pixel_values", "FP32", ("batch", channels, height or "height", width or "width"))


def words_of(model: Any) -> Words:
    config = model.config.get_text_config()
    ids = {name: getattr(config, f"{name}_token_id", None) for name in ("pad", "bos", "eos", "unk", "decoder_start")}
    size = min(config.vocab_size, model.get_input_embeddings().weight.shape[0])
    known = {name: value for name, value in ids.items() if isinstance(value, int) and 0 <= value < size}
    return Words(size=size, special=tuple(known.values()), end=known.get("eos"), pad=known.get("pad", 0))


def longest(model: Any) -> int | None:
    """The most tokens that the model has positions for; None where its positions are relative.

    RoBERTa and its kin count positions from the padding's id on, so that many of the table cannot be had.
    """
    tables = (
        module for name, module in model.named_modules() if name.endswith(("position_embeddings", "embed_positions"))
    )
    for table in tables:
        if isinstance(table, torch.nn.Embedding) and table.padding_idx is not None:
            return int(table.num_embeddings - table.padding_idx - 1)
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return limit if limit and limit > 0 else None


@dataclass(frozen=True)
class Examples:
    """Inputs for a model. ``pixels`` are the lowest and highest of each channel; ``left`` is where texts are padded."""

    model: Any
    ports: tuple[Port, ...]
    pixels: Any = None
    left: bool = False

    def of(self, sizes: Sizes, seed: int) -> Arrays:
        """An input of these sizes; the same for the same seed."""
        numbers, first = np.random.default_rng(seed), self.ports[0]
        if first.name == "input_ids":
            return self._tokens(sizes, numbers)
        if first.name == "pixel_values":
            low, high = self.pixels if self.pixels is not None else (-1.0, 1.0)
            return {first.name: (numbers.random(first.sized(sizes)) * (high - low) + low).astype(np.float32)}
        return {first.name: numbers.standard_normal(first.sized(sizes)).astype(np.float32)}

    def _tokens(self, sizes: Sizes, numbers: Any) -> Arrays:
        """Of three rows one is full, one three quarters and one half. What a model makes of padding is mostly noise, so
        a row alone has none."""
        words, (batch, length) = words_of(self.model), self.ports[0].sized(sizes)
        common = np.setdiff1d(np.arange(words.size), words.special)
        filled = np.array([max(1, (length * (4, 3, 2)[row % 3]) // 4) for row in range(batch)])[:, None]
        places = np.arange(length)[::-1] if self.left else np.arange(length)
        mask = places < filled
        ids = np.where(mask, numbers.choice(common, (batch, length)), words.pad)
        if words.end is not None:
            ids[places == (0 if self.left else filled - 1)] = words.end
        second = mask & (np.arange(length) >= length // 2)  # half of the text as a second sentence
        made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": second}
        for port in self.ports:
            if port.name == "decoder_input_ids":
                made[port.name] = numbers.choice(common, port.sized(sizes))
        return {port.name: made[port.name].astype(np.int64) for port in self.ports}


def case_sizes(model: Any, ports: tuple[Port, ...], per_token: int, bounds: Mapping[str, Any]) -> dict[str, Sizes]:
    """The golden cases by name: one, two and seven (odd, and a prime) of each length, one token, and the longest text.
    ``per_token`` numbers come out for each token; ``bounds`` are the dims of model.yaml."""
    base = {"decoder_sequence": 4, "height": 96, "width": 96, "samples": 3200}
    sizes: dict[str, dict[str, int]] = {
        "batch-1": {**base, "batch": 1, "sequence": 16},
        "batch-2": {**base, "batch": 2, "sequence": 11, "decoder_sequence": 7, "width": 128, "samples": 2000},
        "batch-7": {**base, "batch": 7, "sequence": 8, "samples": 1600},
    }
    if ports[0].name == "input_ids":
        most = min(longest(model) or 512, max(64, _WIDEST // per_token))
        sizes["one-token"] = {**base, "batch": 1, "sequence": 1, "decoder_sequence": 1}
        sizes["longest"] = {**base, "batch": 1, "sequence": most}
    if ports[0].name == "input_values":
        sizes["longest"] = {**base, "batch": 1, "samples": 48000}
    dims = {dim for port in ports for dim in port.shape if isinstance(dim, str)}
    return {
        name: {dim: _within(size, bounds.get(dim)) for dim, size in given.items() if dim in dims}
        for name, given in sizes.items()
    }


def _within(size: int, bounds: Mapping[str, Any] | None) -> int:
    if bounds is None:
        return size
    return int(max(bounds["min"], min(size, bounds["max"] or size)))


def output_dims(
    shapes: tuple[Mapping[str, tuple[int, ...]], ...], ports: tuple[Port, ...]
) -> dict[str, tuple[Dim, ...]]:
    """The dims of every output, from its shapes at the two PROBES."""
    names = {dim for port in ports for dim in port.shape if isinstance(dim, str)}
    known = {(PROBES[0][name], PROBES[1][name]): name for name in names}
    found: dict[str, tuple[Dim, ...]] = {}
    for output, first in shapes[0].items():
        pairs = enumerate(zip(first, shapes[1][output], strict=True))
        found[output] = tuple(
            known.get(pair, pair[0] if pair[0] == pair[1] else f"{output}_{axis}") for axis, pair in pairs
        )
    return found
