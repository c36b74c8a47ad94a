"""Formats whose files ``known`` recognises by their bytes, and that a converter (builder/convert) turns into ONNX."""

from __future__ import annotations

from dataclasses import dataclass

from builder.formats.known import Kind, Sighting
from builder.model.source import Detection, ModelSource


@dataclass(frozen=True, kw_only=True, slots=True)
class RecognizedFormat:
    """A format that is one ``kind`` of file. ``name`` is what model.yaml says and what the converter goes by."""

    name: str
    summary: str
    kind: Kind

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(
            Detection(format=self.name, entry=sighting.path, evidence=(str(sighting),))
            for sighting in sightings
            if sighting.kind == self.kind
        )
