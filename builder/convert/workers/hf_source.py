"""Loads a directory of transformers as transformers itself does, and refuses what it would only warn about.

Stands beside the Hugging Face worker and is imported by it. Nothing is fetched; code of the directory runs only where
the request allows it, and pickled weights are read as plain tensors whatever is allowed.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hf_sentence
import torch
import torch_common
import transformers
from transformers.models.auto import modeling_auto
from worker_io import Failure

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

SHOWN = 4
_HALVES = ("t5", "mt5", "umt5")
"""Of these sentence-transformers takes the encoder alone."""


@dataclass(frozen=True)
class Source:
    """``directory`` has config.json and the weights; ``root`` is the directory of modules.json where there is one,
    ``components`` that of MLflow for what its pipeline has beside the weights."""

    root: Path
    directory: Path
    trusted: bool
    components: Path | None = None

    def place_of(self, component: str) -> Path:
        """Where the tokenizer or the image_processor lies."""
        apart = self.components / component if self.components else self.directory
        return apart if apart.is_dir() else self.directory

    def settings(self, name: str, component: str = "") -> dict[str, Any]:
        """A JSON file of the directory, or of a component's; nothing where there is none."""
        path = (self.place_of(component) if component else self.directory) / name
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        return found if isinstance(found, dict) else {}

    @property
    def loading(self) -> dict[str, Any]:
        """How every loader of transformers is called."""
        return {"local_files_only": True, "trust_remote_code": self.trusted}


def source_of(request: dict[str, Any]) -> Source:
    directory = Path(request["model"]).parent
    above = [place for place in (directory, directory.parent) if (place / "modules.json").is_file()]
    inside = [place for place in above if place.is_relative_to(request["directory"])]
    wrapper = directory.parent
    is_wrapped = wrapper.is_relative_to(request["directory"]) and (wrapper / "MLmodel").is_file()
    return Source(
        root=(inside or [directory])[0],
        directory=directory,
        trusted=bool(request["allow_code"]),
        components=wrapper / "components" if is_wrapped else None,
    )


@functools.cache
def model_of(source: Source) -> Any:
    """The model in FP32, ready to answer. Raises Failure."""
    config = _config(source)
    kind = _class(source, config)
    model, said = _load(source, kind, config, {})
    missing = set(said["missing_keys"])
    # A BERT whose pooler nobody trained: its other outputs are whole, this one would be random.
    if missing and all(name.startswith("pooler.") for name in missing) and "add_pooling_layer" in _arguments(kind):
        model, said = _load(source, kind, config, {"add_pooling_layer": False})
        missing = set(said["missing_keys"])
    if missing:
        names = sorted(missing)
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        told = f"the weights lack {', '.join(names[:SHOWN])}{more}, which {kind.__name__} has; they would be random"
        raise Failure("bad-model", told)
    model.config.use_cache = False
    model.config.return_dict = True
    return model.float().eval()


def _config(source: Source) -> Any:
    try:
        return transformers.AutoConfig.from_pretrained(source.directory, **source.loading)
    except Exception as error:
        told = f"transformers {transformers.__version__} does not take its config.json: {torch_common.words(error)}"
        raise Failure("unsupported", told) from error


def _class(source: Source, config: Any) -> Any:
    name = (config.architectures or [""])[0]
    if hf_sentence.parts(source.root):
        name = _encoder(config, name)
    found = getattr(transformers, name, None)
    if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
        return found
    own = [key for key, place in getattr(config, "auto_map", {}).items() if str(place).endswith(f".{name}")]
    if source.trusted and own:
        return getattr(transformers, own[0])
    told = f"the architecture {name!r} of config.json is no model of transformers {transformers.__version__}"
    raise Failure("unsupported", told)


def _encoder(config: Any, name: str) -> str:
    """The class that sentence-transformers takes, whatever head the weights were saved with: the bare model."""
    bare = modeling_auto.MODEL_MAPPING_NAMES.get(config.model_type, name)
    first = bare if isinstance(bare, str) else bare[0]
    return first.replace("Model", "EncoderModel") if config.model_type in _HALVES else first


def _arguments(kind: Any) -> tuple[str, ...]:
    code = kind.__init__.__code__
    return tuple(code.co_varnames[: code.co_argcount])


def _load(source: Source, kind: Any, config: Any, more: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    try:
        model, said = kind.from_pretrained(
            source.directory, config=config, dtype=torch.float32, weights_only=True, output_loading_info=True,
            **source.loading, **more,
        )  # fmt: skip
    except Exception as error:
        words = torch_common.words(error)
        kind_of = "unsafe" if "weights_only" in words or "Unsupported global" in words else "bad-model"
        raise Failure(kind_of, words) from error
    return model, said
