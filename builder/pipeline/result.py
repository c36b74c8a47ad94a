"""``BuildResult``: what a build gave, as a value. Its JSON form is builder/schemas/result.schema.json (versioned)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.assemble.image import AssembledImage
from builder.assemble.streamed import StreamedImage
from builder.model.parity_report import Verification
from builder.oci.digest import Digest
from builder.oci.reference import PinnedReference
from builder.pipeline.quantize import Quantization
from builder.pipeline.steps import StepRecord
from builder.probe.report import ProbeReport
from builder.registry.push import PushResult
from builder.targets.lock import LockedTarget

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildResult:
    """``unpacked`` has the bytes of the files of each layer that mbuild made, by its diff_id; ``layout`` is the OCI
    layout with the image, None where it went to a registry alone; ``loaded_as`` the name in the local Docker engine or
    empty; ``parity`` is what the gate found; ``report`` is None when the image was not tested, ``pushed`` when it was
    not pushed, ``quantization`` when nothing of that kind was asked for."""

    name: str
    version: str
    locked: LockedTarget
    image: AssembledImage | StreamedImage
    unpacked: Mapping[Digest, int]
    lock: Path
    engine: str
    parity: Verification
    steps: tuple[StepRecord, ...]
    layout: Path | None = None
    loaded_as: str = ""
    report: ProbeReport | None = None
    pushed: PushResult | None = None
    quantization: Quantization | None = None

    @property
    def size(self) -> int:
        """Bytes of all layers as stored."""
        return sum(layer.descriptor.size for layer in self.image.layers)

    @property
    def reference(self) -> PinnedReference | None:
        return self.pushed.reference if self.pushed else None

    def to_json(self) -> dict[str, object]:
        image = self.image
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
                    "unpacked_size": self.unpacked.get(layer.diff_id),
                }
                for layer in image.layers
            ],
            "files": {"layout": str(self.layout) if self.layout else None, "lock": str(self.lock)},
            "quantize": self.quantization.to_json() if self.quantization else None,
            "steps": [step.to_json() for step in self.steps],
            "parity": self.parity.to_json(),
            "test": self.report.to_json() if self.report else None,
            "push": self.pushed.to_json() if self.pushed else None,
        }
