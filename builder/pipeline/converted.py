"""The convert step: the ONNX of a model directory, as it lies there, or as its converter and the passes after it make
it for the target."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from builder.convert.convert import SourceModel, convert
from builder.convert.optimize import OnnxVersions, optimize
from builder.formats.onnx import OnnxLimits
from builder.host import Host
from builder.model.generate import Samples
from builder.model.golden import GoldenCase, read_case
from builder.model.manifest import Renames
from builder.model.renames import to_served_names
from builder.model.source import Detection, ModelSource, list_model
from builder.targets import Target

ONNX_ENTRY = PurePosixPath("model.onnx")
"""Where converters and the passes after them write the graph."""
_SAMPLES, _RANGES = PurePosixPath("samples.json"), PurePosixPath("ranges.json")
_CONTINUOUS = PurePosixPath("continuous.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxModel:
    """A directory with an ONNX model. ``is_converted``: we made it, and what stands beside the graph is ours."""

    source: ModelSource
    entry: PurePosixPath
    is_converted: bool

    def samples(self, renames: Renames) -> Samples:
        """What a converter wrote about values that the model knows, by the names that clients see."""
        if not self.is_converted or not self.source.find(_SAMPLES):
            return {}
        served = dict(renames.inputs)
        return {
            served.get(name, name): tuple(v.encode() if isinstance(v, str) else float(v) for v in values)
            for name, values in json.loads(self.source.locate(_SAMPLES).read_bytes()).items()
        }

    def continuous(self, renames: Renames) -> frozenset[str]:
        """Inputs whose samples are some of all the numbers that the model takes, by the names that clients see."""
        if not self.is_converted or not self.source.find(_CONTINUOUS):
            return frozenset()
        served = dict(renames.inputs)
        return frozenset(served.get(name, name) for name in json.loads(self.source.locate(_CONTINUOUS).read_bytes()))

    def cases(self, renames: Renames) -> tuple[GoldenCase, ...]:
        """Inputs that a converter made, since it knows what they mean to the model: ``cases/NAME.npz``."""
        files = (file for file in self.source.files if self.is_converted and file.path.match("cases/*.npz"))
        found = (read_case(self.source.locate(file.path)) for file in files)
        return tuple(to_served_names(replace(case, name=f"generated-{case.name}"), renames) for case in found)

    def ranges(self) -> dict[str, tuple[int, int | None]]:
        """What a converter wrote about the sizes that a dynamic dim may take: least and most, by the dim's name."""
        if not self.is_converted or not self.source.find(_RANGES):
            return {}
        written = json.loads(self.source.locate(_RANGES).read_bytes())
        return {name: (bounds["min"], bounds["max"]) for name, bounds in written.items()}


def onnx_of(source: ModelSource, found: Detection, origin: SourceModel | None, target: Target, host: Host) -> OnnxModel:
    """The model as ONNX. Raises what a conversion raises, and OpsetNotLowered."""
    if origin is None:
        return OnnxModel(source=source, entry=found.entry, is_converted=False)
    versions = OnnxVersions(opset=target.opsets[1], ml_opset=target.ml_opset, ir=target.ir_version)
    made = optimize(convert(origin, host), versions, host)
    return OnnxModel(source=list_model(made), entry=ONNX_ENTRY, is_converted=True)


def limits_of(target: Target) -> OnnxLimits:
    """What the target's onnxruntime reads."""
    return OnnxLimits(opset=target.opsets[1], ml_opset=target.ml_opset, ir=target.ir_version)
