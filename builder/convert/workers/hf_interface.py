"""What stands before and behind the graph so that people can call it: text or images in, labels or embeddings out.

Stands beside the Hugging Face worker and is imported by it. ``describe`` says it to the server (``interface.json`` and
the tokenizer); ``answer`` does the same with transformers' own tokenizer or image processor: what the server must give.
Offered: encoders, classifiers of text, tokens and images. Not offered: generation, masked words, spans, sound.
"""

import functools
import io
import json
from pathlib import Path
from typing import Any

import hf_export
import hf_ports
import hf_sentence
import hf_source
import numpy as np
import tokenizers
import torch
import torch_common
import transformers
from PIL import Image, ImageOps
from worker_io import Arrays, Failure

_TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
_UNSAID = 512
"""Tokens of a text where nothing says how many a model takes."""

_RESAMPLE = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers in preprocessor_config.json (PIL.Image.Resampling)."""

_PROCESSORS = {"ViT", "DeiT", "CLIP", "Bit", "Siglip", "ConvNext"}
"""Image processors that resize, crop, rescale and normalise, in this order, and nothing else."""

_WARPED = 384
"""From this side on ConvNext stretches images instead of cropping them (ConvNextImageProcessorPil.resize)."""

Interface = dict[str, Any]
Shapes = dict[str, tuple[int | str, ...]]


def describe(
    source: hf_source.Source, model: Any, ports: tuple[hf_ports.Port, ...], outputs: Shapes, directory: Path
) -> Interface | None:
    """The interface, its files written into ``directory``; None where this model is asked with tensors alone."""
    after = _after(source, model, outputs)
    if after is None or model.config.is_encoder_decoder:
        return None
    before = _tokenize(source, model, ports, directory) if ports[0].name == "input_ids" else _image(source, ports)
    if before is None:
        return None
    public = {"name": before["input"], "datatype": "BYTES", "shape": ["batch"]}
    return {"schema": 1, "inputs": [public], "outputs": _outputs(after, outputs), "before": before, "after": after}


def _after(source: hf_source.Source, model: Any, outputs: Shapes) -> Interface | None:
    config, kind = model.config, type(model).__name__
    if "sentence_embedding" in outputs:
        return {"step": "pass", "outputs": {"embedding": "sentence_embedding"}}
    if kind.endswith(("ForSequenceClassification", "ForImageClassification")):
        return {"step": "classify", "scores": "logits", "activation": activation(config), "labels": labels(config)}
    if kind.endswith("ForTokenClassification"):
        return {"step": "tokens", "scores": "logits", "labels": labels(config)}
    if "last_hidden_state" in outputs:
        return {"step": "pass", "outputs": {name: name for name in outputs}}
    return None


def _outputs(after: Interface, outputs: Shapes) -> list[Interface]:
    if after["step"] == "pass":
        return [
            {"name": public, "datatype": "FP32", "shape": list(outputs[name])}
            for public, name in after["outputs"].items()
        ]
    if after["step"] == "tokens":
        return [{"name": "entities", "datatype": "BYTES", "shape": ["batch"]}]
    scores = {"name": "scores", "datatype": "FP32", "shape": ["batch", len(after["labels"])]}
    return [{"name": "label", "datatype": "BYTES", "shape": ["batch"]}, scores]


def labels(config: Any) -> list[str]:
    return [str(config.id2label.get(number, number)) for number in range(config.num_labels)]


def activation(config: Any) -> str:
    """As transformers' own pipelines choose it (TextClassificationPipeline.postprocess)."""
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


@functools.cache
def tokenizer_of(source: hf_source.Source) -> Any:
    """The fast tokenizer of the directory, None where there is none. Raises Failure for a broken one."""
    place = source.place_of("tokenizer")
    if not any((place / name).is_file() for name in _TOKENIZER_FILES):
        return None
    try:
        found = transformers.AutoTokenizer.from_pretrained(place, **source.loading)
    except Exception as error:
        raise Failure("bad-model", f"its tokenizer: {torch_common.words(error)}") from error
    if not found.is_fast:
        return None
    if found.pad_token is None and found.eos_token is not None:
        found.pad_token = found.eos_token  # the mask says what it is
    return found if found.pad_token is not None else None


def pads_left(source: hf_source.Source) -> bool:
    tokenizer = tokenizer_of(source)
    return tokenizer is not None and tokenizer.padding_side == "left"


def _sentence_settings(source: hf_source.Source) -> dict[str, Any]:
    """sentence_bert_config.json, or what older versions named after their model; nothing for transformers alone."""
    paths = sorted(source.directory.glob("sentence_*_config.json")) if hf_sentence.parts(source.root) else []
    return source.settings(paths[0].name) if paths else {}


def _max_length(source: hf_source.Source, model: Any, tokenizer: Any) -> int:
    said = [_sentence_settings(source).get("max_seq_length"), tokenizer.model_max_length, hf_ports.longest(model)]
    known = [number for number in said[:1] if number] or [number for number in said[1:2] if number < 1 << 30]
    return min([*known, *(number for number in said[2:] if number)], default=_UNSAID)


def _has_prompt(source: hf_source.Source) -> bool:
    path = source.root / "config_sentence_transformers.json"
    return path.is_file() and bool(json.loads(path.read_text(encoding="utf-8")).get("default_prompt_name"))


def _tokenize(
    source: hf_source.Source, model: Any, ports: tuple[hf_ports.Port, ...], directory: Path
) -> Interface | None:
    tokenizer = tokenizer_of(source)
    if tokenizer is None or _has_prompt(source):
        return None
    served = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    served.no_truncation()
    served.no_padding()
    _as_sentence_transformers(source, served)
    (directory / "tokenizer.json").write_text(served.to_str(), encoding="utf-8")
    feeds = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
    return {
        "step": "tokenize",
        "file": "tokenizer.json",
        "input": "text",
        "max_length": _max_length(source, model, tokenizer),
        "pad_id": tokenizer.pad_token_id,
        "pad_token": tokenizer.pad_token,
        "pad_type_id": tokenizer.pad_token_type_id,
        "padding_side": tokenizer.padding_side,
        "truncation_side": tokenizer.truncation_side,
        "feeds": {port.name: feeds[port.name] for port in ports},
    }


def _as_sentence_transformers(source: hf_source.Source, served: Any) -> None:
    """Where its settings say so, it has its tokenizer lower every text first."""
    if _sentence_settings(source).get("do_lower_case"):
        own = [served.normalizer] if served.normalizer else []
        served.normalizer = tokenizers.normalizers.Sequence([tokenizers.normalizers.Lowercase(), *own])


@functools.cache
def processor_of(source: hf_source.Source) -> Any:
    """The image processor of the directory, None where there is none."""
    place = source.place_of("image_processor")
    if not (place / "preprocessor_config.json").is_file():
        return None
    try:
        return transformers.AutoImageProcessor.from_pretrained(place, backend="pil", **source.loading)
    except Exception as error:
        raise Failure("bad-model", f"its preprocessor_config.json: {torch_common.words(error)}") from error


def pixel_range(source: hf_source.Source) -> Any:
    """What normalisation makes of black and white, for each channel; None where nothing says it."""
    settings = source.settings("preprocessor_config.json", "image_processor")
    if "image_mean" not in settings or "image_std" not in settings:
        return None
    mean, std = (np.array(settings[name])[:, None, None] for name in ("image_mean", "image_std"))
    return (0 - mean) / std, (1 - mean) / std


def _image(source: hf_source.Source, ports: tuple[hf_ports.Port, ...]) -> Interface | None:
    processor = processor_of(source)
    if processor is None or ports[0].name != "pixel_values" or ports[0].shape[1] != 3:
        return None
    kind, said = type(processor).__name__.partition("ImageProcessor")[0], processor.to_dict()
    if kind not in _PROCESSORS:
        return None
    resize, crop = _convnext_sizes(said) if kind == "ConvNext" else (said.get("size"), None)
    normalised = said.get("do_normalize")
    return {
        "step": "image",
        "input": "image",
        "feeds": "pixel_values",
        "channels": "RGB",
        "resize": _size(resize) if said.get("do_resize") else None,
        "resample": _RESAMPLE[int(said.get("resample") or 0)],
        "crop": _size(said.get("crop_size") if said.get("do_center_crop") else crop),
        "rescale": said["rescale_factor"] if said.get("do_rescale") else 1.0,
        "mean": list(said["image_mean"]) if normalised else [0.0, 0.0, 0.0],
        "std": list(said["image_std"]) if normalised else [1.0, 1.0, 1.0],
        "layout": "NCHW",
    }


def _convnext_sizes(said: dict[str, Any]) -> tuple[Any, Any]:
    """It asks for the side of the crop, and resizes to a little more."""
    side = said["size"]["shortest_edge"]
    square = {"height": side, "width": side}
    return (square, None) if side >= _WARPED else ({"shortest_edge": int(side / said["crop_pct"])}, square)


def _size(size: Any) -> dict[str, int] | None:
    return {name: int(value) for name, value in size.items() if value is not None} if size else None


def answer(source: hf_source.Source, named: hf_export.Named, inputs: Arrays) -> Arrays:
    """The plain answer, by transformers' own tokenizer or image processor. Raises Failure for what it cannot read."""
    model = named.model
    if "image" in inputs:
        return _judged(source, model, hf_export.answered(named, _pixels(source, inputs["image"])), [], None)
    texts = [item.decode("utf-8") for item in np.asarray(inputs["text"], dtype=object).ravel()]
    tokenizer = tokenizer_of(source)
    asked = [text.lower() for text in texts] if _sentence_settings(source).get("do_lower_case") else texts
    encoded = tokenizer(
        asked, padding=True, truncation=True, max_length=_max_length(source, model, tokenizer),
        return_token_type_ids=True, return_attention_mask=True, return_offsets_mapping=True,
        return_special_tokens_mask=True, return_tensors="np",
    )  # fmt: skip
    found = hf_export.answered(named, {name: encoded[name].astype(np.int64) for name in named.names})
    return _judged(source, model, found, texts, encoded)


def _pixels(source: hf_source.Source, files: Any) -> Arrays:
    images = []
    for content in np.asarray(files, dtype=object).ravel():
        with Image.open(io.BytesIO(content)) as image:
            images.append(ImageOps.exif_transpose(image).convert("RGB"))
    found = processor_of(source)(images, return_tensors="np")
    return {"pixel_values": np.asarray(found["pixel_values"], dtype=np.float32)}


def _judged(source: hf_source.Source, model: Any, found: Arrays, texts: list[str], encoded: Any) -> Arrays:
    after = _after(source, model, {name: array.shape for name, array in found.items()})
    if after is None:
        raise Failure("unsupported", f"{type(model).__name__} is asked with tensors alone")
    if after["step"] == "pass":
        return {public: found[name] for public, name in after["outputs"].items()}
    scores = _activated(found["logits"], after.get("activation", "softmax"))
    if after["step"] == "classify":
        label = np.array([after["labels"][best].encode() for best in scores.argmax(-1)], dtype=object)
        return {"label": label, "scores": scores}
    lines = [_entities(text, scores[row], encoded, row, after["labels"]) for row, text in enumerate(texts)]
    return {"entities": np.array(lines, dtype=object)}


def _activated(logits: Any, how: str) -> Any:
    values = torch.from_numpy(logits)
    if how == "softmax":
        values = values.softmax(-1)
    elif how == "sigmoid":
        values = values.sigmoid()
    return values.numpy()


def _entities(text: str, scores: Any, encoded: Any, row: int, names: list[str]) -> bytes:
    """One entry for each token that is not outside of everything, in characters of the text."""
    found = []
    for place, (start, end) in enumerate(encoded["offset_mapping"][row].tolist()):
        best = int(scores[place].argmax())
        if encoded["special_tokens_mask"][row][place] or start == end or names[best] == "O":
            continue
        score = round(float(scores[place][best]), 6)
        found.append({"start": start, "end": end, "text": text[start:end], "label": names[best], "score": score})
    return json.dumps(found, ensure_ascii=False).encode()
