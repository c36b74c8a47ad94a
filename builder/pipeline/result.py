"""``BuildResult``: what a build gave, as a value. Its JSON form is builder/schemas/result.schema.json (versioned)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.assemble.image import AssembledImage
from builder.assemble.streamed import StreamedImage
from builder.oci.digest import Digest
from builder.oci.manifest import Document
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference
from builder.pipeline.answered import AnsweredModel
from builder.pipeline.prove import Proof
from builder.pipeline.steps import StepRecord
from builder.plan.image import LayerPlan
from builder.probe.report import ProbeReport
from builder.registry.push import PushResult
from builder.targets.lock import LockedTarget

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BuiltImage:
    """The image of one platform. ``planned`` has the plan of each layer that mbuild made, by its diff_id; ``loaded_as``
    is its name in the local Docker engine or empty; ``proof`` is None where nothing was to be tested."""

    locked: LockedTarget
    image: AssembledImage | StreamedImage
    planned: Mapping[Digest, LayerPlan]
    loaded_as: str = ""
    proof: Proof | None = None

    @property
    def platform(self) -> Platform:
        return self.image.config.platform

    @property
    def size(self) -> int:
        """Bytes of all layers as stored."""
        return sum(layer.descriptor.size for layer in self.image.layers)

    def layers_json(self) -> Iterator[dict[str, object]]:
        for layer in self.image.layers:
            plan = self.planned.get(layer.diff_id)
            yield {
                "role": str(layer.role),
                "digest": str(layer.descriptor.digest),
                "diff_id": str(layer.diff_id),
                "media_type": layer.descriptor.media_type,
                "size": layer.descriptor.size,
                "unpacked_size": plan.size if plan else None,
                "models": list(plan.models) if plan else [],
            }

    def to_json(self) -> dict[str, object]:
        return {
            "platform": str(self.platform),
            "identifier": self.locked.identifier,
            "digest": str(self.image.manifest.digest),
            "id": str(self.image.config.digest),
            "size": self.size,
            "loaded_as": self.loaded_as or None,
            "layers": [str(layer.descriptor.digest) for layer in self.image.layers],
            "test": self.proof.to_json() if self.proof else None,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """``name`` and ``version`` are the image's; ``images`` are those of the platforms, and ``index`` names them where
    they are several; ``models`` are sorted by name; ``layout`` is the OCI layout with the image, None where it went to
    a registry alone; ``pushed`` has where it went, in the order of its tags."""

    name: str
    version: str
    identifier: str
    images: tuple[BuiltImage, ...]
    lock: Path
    engine: str
    models: tuple[AnsweredModel, ...]
    steps: tuple[StepRecord, ...]
    index: Document | None = None
    layout: Path | None = None
    pushed: tuple[PushResult, ...] = ()

    @property
    def digest(self) -> Digest:
        """What a registry serves it by: of the index, or of the only image's manifest."""
        return self.index.descriptor.digest if self.index else self.images[0].image.digest

    @property
    def size(self) -> int:
        """Bytes of all layers as stored, each once."""
        layers = (layer for one in self.images for layer in one.image.layers)
        return sum({layer.descriptor.digest: layer.descriptor.size for layer in layers}.values())

    @property
    def loaded_as(self) -> str:
        return next((one.loaded_as for one in self.images if one.loaded_as), "")

    @property
    def report(self) -> ProbeReport | None:
        """Of the first image that was run."""
        return next((one.proof for one in self.images if isinstance(one.proof, ProbeReport)), None)

    @property
    def reference(self) -> PinnedReference | None:
        return self.pushed[0].reference if self.pushed else None

    def to_json(self) -> dict[str, object]:
        models = [_model_json(one) for one in self.models]
        alone = models[0] if len(models) == 1 else {"quantize": None, "parity": None}
        layers = {str(layer["digest"]): layer for one in self.images for layer in one.layers_json()}
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "identifier": self.identifier,
            "engine": self.engine,
            "image": {
                "reference": str(self.reference) if self.reference else None,
                "digest": str(self.digest),
                "id": None if self.index else str(self.images[0].image.config.digest),
                "platform": ",".join(str(one.platform) for one in self.images),
                "size": self.size,
                "loaded_as": self.loaded_as or None,
            },
            "platforms": [one.to_json() for one in self.images],
            "layers": list(layers.values()),
            "models": models,
            "files": {"layout": str(self.layout) if self.layout else None, "lock": str(self.lock)},
            "quantize": alone["quantize"],
            "steps": [step.to_json() for step in self.steps],
            "parity": alone["parity"],
            "test": self.report.to_json() if self.report else None,
            "push": self._push_json(),
        }

    def _push_json(self) -> dict[str, object] | None:
        first, *also = (one.to_json() for one in self.pushed) if self.pushed else (None,)
        return {**first, "also": also} if first else None


def _model_json(one: AnsweredModel) -> dict[str, object]:
    return {
        "name": one.manifest.name,
        "version": one.manifest.version,
        "format": one.model.format,
        "digest": str(one.model.digest),
        "served_as": list(one.model.served_names),
        "quantize": one.quantization.to_json() if one.quantization else None,
        "parity": one.parity.to_json(),
    }
