"""Hugging Face directories: config.json of transformers, weights in safetensors, and a tokenizer or image processor.

Such a directory is one model with all that lies in it; sentence-transformers puts its own parts beside or around it.
Read here: JSON, the headers of safetensors, and the listing. Whether the directory is whole, and whether loading it
would run code, is said before any process sees it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from builder.errors import UnsupportedModel
from builder.formats.known import SAFETENSORS, TORCH_PICKLE, Sighting
from builder.formats.safetensors import parameters
from builder.formats.torch_pickles import uncommon_names
from builder.model.problems import suggestion
from builder.model.source import Detection, ModelSource

_MAX_JSON = 16 << 20
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""In the order in which transformers looks for them (PreTrainedModel.from_pretrained)."""

_CODE_FILES = ("config.json", "tokenizer_config.json", "preprocessor_config.json", "processor_config.json")
_TWINS = ("tf_model.h5", "flax_model.msgpack", "rust_model.ot")
"""The same weights again, for other frameworks."""

_TASKS = {
    "ForSequenceClassification": "text classification",
    "ForTokenClassification": "token classification",
    "ForImageClassification": "image classification",
    "ForMaskedLM": "masked words (logits)",
    "ForCausalLM": "text generation (logits)",
    "LMHeadModel": "text generation (logits)",
    "ForConditionalGeneration": "text to text (logits)",
    "ForQuestionAnswering": "answers in a text (logits)",
    "ForCTC": "speech to text (logits)",
    "Model": "encoder",
}
"""By the end of the name of the class."""


class ArchitectureMissing(UnsupportedModel):
    code = "architecture-missing"
    message = "{path} does not say which class of transformers the weights belong to: it has no `architectures`"
    hint = (
        'model.save_pretrained(directory) writes it; or add it by hand, for example "architectures": ["{example}"], '
        "where you know it"
    )


class WeightsMissing(UnsupportedModel):
    code = "weights-missing"
    message = "{path} describes a model of Hugging Face, but its weights are not in the directory{found}"
    hint = (
        "put model.safetensors beside it, or all of model.safetensors.index.json and its shards "
        "(model.save_pretrained(directory) writes them)"
    )


class ShardsMissing(UnsupportedModel):
    code = "shards-missing"
    message = "{path} names weights that are not in the directory: {shards}"
    hint = "the download was not whole; fetch the missing files and put them beside it"


class SettingsUnreadable(UnsupportedModel):
    code = "settings-unreadable"
    message = "{path} cannot be read: {reason}"
    hint = "it is JSON as save_pretrained writes it; fetch it again"


class HuggingFaceFormat:
    """See the module. ``covers`` are the weights in all their forms, and what training left below the directory."""

    name = "huggingface"
    summary = "Hugging Face: a directory with config.json and model.safetensors, as save_pretrained writes it"

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(self._detect(source, sightings))

    def _detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> Iterator[Detection]:
        for file in source.files:
            if file.path.name != "config.json" or file.path.parts[0] == "golden":
                continue
            config = _config(source, file.path)
            if config is None or (not _weights(source, file.path) and _has_onnx(source)):
                continue
            yield Detection(
                format=self.name,
                entry=file.path,
                evidence=tuple(_evidence(source, file.path, config)),
                covers=_covered(source, sightings, file.path),
            )


def require_whole(source: ModelSource, entry: PurePosixPath) -> None:
    """Raises ArchitectureMissing, WeightsMissing, ShardsMissing or SettingsUnreadable."""
    config = _json(source, entry)
    if not _architecture(config):
        raise ArchitectureMissing(path=entry, example=_example(config))
    weights = _weights(source, entry)
    if not weights:
        near = [
            str(file.path) for file in source.files if file.path.suffix in (".safetensors", ".bin", ".h5", ".msgpack")
        ]
        raise WeightsMissing(path=entry, found=suggestion("model.safetensors", near))
    missing = [str(path) for path in weights if source.find(path) is None]
    if missing:
        index = next(entry.with_name(name) for name in _WEIGHTS if source.find(entry.with_name(name)))
        more = f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise ShardsMissing(path=index, shards=", ".join(missing[:4]) + more)


def code_of(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """What loading the directory would run: the classes of ``auto_map``, and what its pickled weights name beyond
    tensors. Raises SettingsUnreadable."""
    names: dict[str, None] = {}
    for name in _CODE_FILES:
        if source.find(found.entry.with_name(name)):
            settings = _json(source, found.entry.with_name(name))
            names |= dict.fromkeys(f"{place} ({name}: auto_map)" for place in _places(settings.get("auto_map")))
    for path in (*_weights(source, found.entry), *_pickled_parts(source, found.entry)):
        if path.suffix == ".bin" and source.find(path):
            names |= dict.fromkeys(f"{name} ({path})" for name in uncommon_names(source, path))
    return tuple(names)


def _config(source: ModelSource, path: PurePosixPath) -> Mapping[str, Any] | None:
    """The settings of a model of transformers; None where the file is something else."""
    try:
        config = _json(source, path)
    except SettingsUnreadable:
        # Cut off: it still says whose it is.
        return {} if b'"model_type"' in source.head(path, 1 << 16) else None
    return config if "model_type" in config or _architecture(config) else None


def _json(source: ModelSource, path: PurePosixPath) -> Mapping[str, Any]:
    content = source.head(path, _MAX_JSON + 1)
    try:
        if len(content) > _MAX_JSON:
            raise ValueError(f"it has more than {_MAX_JSON} bytes")
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise SettingsUnreadable(path=path, reason=error) from error
    if not isinstance(value, dict):
        raise SettingsUnreadable(path=path, reason="it is not a JSON object")
    return value


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""


def _example(config: Mapping[str, Any]) -> str:
    kind = str(config.get("model_type") or "bert")
    return f"{kind.replace('-', ' ').title().replace(' ', '')}Model"


def _weights(source: ModelSource, entry: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """The files that transformers would read, there or not."""
    name = next((name for name in _WEIGHTS if source.find(entry.with_name(name))), "")
    if not name.endswith(".index.json"):
        return (entry.with_name(name),) if name else ()
    shards = _json(source, entry.with_name(name)).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(shard, str) for shard in shards.values()):
        raise SettingsUnreadable(path=entry.with_name(name), reason="it has no weight_map of names to files")
    outside = [shard for shard in shards.values() if shard != PurePosixPath(shard).name]
    if outside:
        raise SettingsUnreadable(path=entry.with_name(name), reason=f"it names a file outside: {outside[0]}")
    return tuple(entry.with_name(shard) for shard in sorted(set(shards.values())))


def _pickled_parts(source: ModelSource, entry: PurePosixPath) -> tuple[PurePosixPath, ...]:
    """Pickled weights of a layer of sentence-transformers, where it has no others."""
    root = _root(source, entry)
    return tuple(
        file.path
        for file in source.files
        if file.path.name == "pytorch_model.bin"
        and file.path.parent.parent == root
        and file.path.parent != entry.parent
        and source.find(file.path.with_name("model.safetensors")) is None
        and source.find(root / "modules.json")
    )


def _has_onnx(source: ModelSource) -> bool:
    return any(file.path.suffix.lower() == ".onnx" for file in source.files)


def _places(auto_map: Any) -> Iterator[str]:
    """The classes that auto_map names; a tokenizer has a pair of them."""
    for value in auto_map.values() if isinstance(auto_map, dict) else ():
        yield from (str(item) for item in (value if isinstance(value, list) else [value]) if item)


def _evidence(source: ModelSource, path: PurePosixPath, config: Mapping[str, Any]) -> Iterator[str]:
    architecture = _architecture(config)
    task = next((task for end, task in _TASKS.items() if architecture.endswith(end)), "")
    yield f"architecture {architecture or 'not said'}" + (f", {task}" if task else "")
    root = _root(source, path)
    if source.find(root / "modules.json"):
        yield f"{root / 'modules.json'} of sentence-transformers: one vector for each text"
    weights = [file for file in _readable_weights(source, path) if file.suffix == ".safetensors"]
    count = sum(parameters(source, file) for file in weights)
    if count:
        yield f"{count:,} parameters in {len(weights)} file{'s' if len(weights) > 1 else ''} of safetensors"
    version = config.get("transformers_version")
    if version:
        yield f"written by transformers {version}; the converter reads it with the version that it pins"


def _readable_weights(source: ModelSource, path: PurePosixPath) -> tuple[PurePosixPath, ...]:
    try:
        return tuple(file for file in _weights(source, path) if source.find(file))
    except SettingsUnreadable:
        return ()


def _root(source: ModelSource, entry: PurePosixPath) -> PurePosixPath:
    """The directory of modules.json: that of config.json or the one above; else that of config.json."""
    above = entry.parent.parent
    inside = source.find(entry.parent / "modules.json") is None and source.find(above / "modules.json") is not None
    return above if inside else entry.parent


def _covered(source: ModelSource, sightings: tuple[Sighting, ...], entry: PurePosixPath) -> frozenset[PurePosixPath]:
    """The weights in all their forms, and the models that training left in directories below."""
    root, kinds = _root(source, entry), (SAFETENSORS, TORCH_PICKLE)
    weights = {seen.path for seen in sightings if seen.kind in kinds and seen.path.is_relative_to(root)}
    twins = {file.path for file in source.files if file.path.name in _TWINS and file.path.is_relative_to(root)}
    nested = {
        file.path
        for file in source.files
        if file.path.name == "config.json" and file.path.is_relative_to(entry.parent) and file.path != entry
    }
    return frozenset(weights | twins | nested)
