"""What a CNCF ModelPack artifact says of itself (modelpack/model-spec v0.0.7, docs/config.md), and its media types.

Docker's media types of single files are read as raw ones, never written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from operator import add
from typing import Any

from builder.canonical import canonical_json
from builder.model.face import Face
from builder.model.parameters import UNKNOWN, Parameters
from builder.oci.descriptor import GZIP_LAYER_TYPES, LAYER_GZIP, LAYER_TAR, LAYER_ZSTD
from builder.oci.digest import Digest

MANIFEST_TYPE = "application/vnd.cncf.model.manifest.v1+json"
CONFIG_TYPE = "application/vnd.cncf.model.config.v1+json"
FILE_PATH = "org.cncf.model.filepath"

_TYPES = "application/vnd.cncf.model."
_WEIGHT = f"{_TYPES}weight.v1"
_FORMS = {".tar+gzip": LAYER_GZIP, ".tar+zstd": LAYER_ZSTD, ".tar": LAYER_TAR}
_OF_ONE_FILE = (".raw", ".gguf", ".safetensors")
_UNITS = ((1_000, "K"), (1_000_000, "M"), (10**9, "B"), (10**12, "T"), (10**15, "Q"))
_LABELS = {
    "authors": "org.opencontainers.image.authors",
    "vendor": "org.opencontainers.image.vendor",
    "docURL": "org.opencontainers.image.documentation",
    "sourceURL": "org.opencontainers.image.source",
    "revision": "org.opencontainers.image.revision",
}


def weight_type(layer_type: str) -> str:
    """What a ModelPack calls an image's layer of that media type."""
    form = ".tar+gzip" if layer_type in GZIP_LAYER_TYPES else next(k for k, v in _FORMS.items() if v == layer_type)
    return _WEIGHT + form


def layer_type(media_type: str) -> str:
    """What an image calls a layer of a ModelPack: a tar, however it is compressed; empty for one that is a file."""
    if not media_type.startswith(_TYPES) or media_type.endswith(_OF_ONE_FILE):
        return ""
    return next((image_type for form, image_type in _FORMS.items() if media_type.endswith(form)), "")


def is_model_layer(media_type: str) -> bool:
    """Whether it is weights, their config, code or documents: what a model directory has. Data sets are none."""
    return media_type.startswith(_TYPES) and not media_type.startswith(f"{_TYPES}dataset.")


def build_config(face: Face, labels: Mapping[str, str], created: str, diff_ids: Sequence[Digest]) -> bytes:
    """The config of an artifact with layers of these ``diff_ids``, in their order; ``labels`` are the image's."""
    parameters = reduce(add, (model.parameters for model in face.models), UNKNOWN)
    quantized = dict.fromkeys(model.quantized for model in face.models if model.quantized)
    said: dict[str, Any] = {key: labels.get(label, "") for key, label in _LABELS.items()}
    descriptor = {
        **said,
        "authors": [said["authors"]] if said["authors"] else [],
        "createdAt": created,
        "name": face.name,
        "version": face.version,
        "description": face.description,
        "licenses": [face.licence] if face.licence else [],
    }
    config = {"format": "onnx", **_size(parameters), "quantization": ",".join(quantized)}
    return canonical_json(
        {
            "descriptor": _said(descriptor),
            "config": _said(config),
            "modelfs": {"type": "layers", "diffIds": [str(digest) for digest in diff_ids]},
        }
    )


def _size(parameters: Parameters) -> dict[str, str]:
    if not parameters.count:
        return {}
    return {"paramSize": param_size(parameters.count), "precision": ",".join(parameters.precision)}


def _said(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in value.items() if each}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelPack:
    """What the config says; the specification asks for none of it, so a text may be empty."""

    name: str
    version: str
    description: str
    licences: tuple[str, ...]
    created: str
    format: str
    parameters: str
    precision: str
    quantization: str

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelPack:
        """Of any tool. What is not as the specification has it counts as not said."""
        descriptor, config = (
            part if isinstance(part := value.get(key), dict) else {} for key in ("descriptor", "config")
        )
        licences = descriptor.get("licenses")
        return cls(
            name=_text(descriptor, "name"),
            version=_text(descriptor, "version"),
            description=_text(descriptor, "description"),
            licences=tuple(map(str, licences)) if isinstance(licences, list) else (),
            created=_text(descriptor, "createdAt"),
            format=_text(config, "format"),
            parameters=_text(config, "paramSize"),
            precision=_text(config, "precision"),
            quantization=_text(config, "quantization"),
        )

    def to_json(self) -> dict[str, object]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


def _text(value: Mapping[str, Any], key: str) -> str:
    text = value.get(key)
    return text if isinstance(text, str) else ""


def param_size(count: int) -> str:
    """``<count><K|M|B|T|Q>`` with at most one digit behind the point: 6.7B, 100M, 0.4K."""
    unit, letter = next(((unit, letter) for unit, letter in _UNITS if _tenths(count, unit) < 10_000), _UNITS[-1])
    tenths = max(1, _tenths(count, unit))
    return f"{tenths // 10}{f'.{tenths % 10}' if tenths % 10 else ''}{letter}"


def _tenths(count: int, unit: int) -> int:
    """Rounded half up."""
    return (count * 10 + unit // 2) // unit
