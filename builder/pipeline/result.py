"""``BuildResult``: what a build gave, as a value. Its JSON form is builder/schemas/result.schema.json (versioned)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.assemble.image import AssembledImage
from builder.assemble.streamed import StreamedImage
from builder.oci.digest import Digest
from builder.oci.reference import PinnedReference
from builder.pipeline.answered import AnsweredModel
from builder.pipeline.steps import StepRecord
from builder.plan.image import LayerPlan
from builder.probe.report import ProbeReport
from builder.registry.push import PushResult
from builder.targets.lock import LockedTarget

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """``name`` and ``version`` are the image's; ``models`` are sorted by name; ``planned`` has the plan of each layer
    that mbuild made, by its diff_id; ``layout`` is the OCI layout with the image, None where it went to a registry
    alone; ``loaded_as`` the name in the local Docker engine or empty; ``report`` is None when the image was not tested,
    ``pushed`` when it was not pushed."""

    name: str
    version: str
    locked: LockedTarget
    image: AssembledImage | StreamedImage
    planned: Mapping[Digest, LayerPlan]
    lock: Path
    engine: str
    models: tuple[AnsweredModel, ...]
    steps: tuple[StepRecord, ...]
    layout: Path | None = None
    loaded_as: str = ""
    report: ProbeReport | None = None
    pushed: PushResult | None = None

    @property
    def size(self) -> int:
        """Bytes of all layers as stored."""
        return sum(layer.descriptor.size for layer in self.image.layers)

    @property
    def reference(self) -> PinnedReference | None:
        return self.pushed.reference if self.pushed else None

    def to_json(self) -> dict[str, object]:
        image, models = self.image, [_model_json(one) for one in self.models]
        alone = models[0] if len(models) == 1 else {"quantize": None, "parity": None}
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "identifier": self.locked.identifier,
            "engine": self.engine,
            "image": {
                "reference": str(self.reference) if self.reference else None,
                "digest": str(image.manifest.digest),
                "id": str(image.config.digest),
                "platform": str(image.config.platform),
                "size": self.size,
                "loaded_as": self.loaded_as or None,
            },
            "layers": [
                {
                    "role": str(layer.role),
                    "digest": str(layer.descriptor.digest),
                    "diff_id": str(layer.diff_id),
                    "media_type": layer.descriptor.media_type,
                    "size": layer.descriptor.size,
                    "unpacked_size": plan.size if plan else None,
                    "models": list(plan.models) if plan else [],
                }
                for layer, plan in ((layer, self.planned.get(layer.diff_id)) for layer in image.layers)
            ],
            "models": models,
            "files": {"layout": str(self.layout) if self.layout else None, "lock": str(self.lock)},
            "quantize": alone["quantize"],
            "steps": [step.to_json() for step in self.steps],
            "parity": alone["parity"],
            "test": self.report.to_json() if self.report else None,
            "push": self.pushed.to_json() if self.pushed else None,
        }


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
