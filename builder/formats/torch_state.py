"""Weights alone, as PyTorch's torch.save of a state_dict and safetensors write them: a model only together with the
Python module that computes with them, which model.yaml names.

Refused here: weights without a module, and a module that is not in the directory. Whether a file of torch.save holds
weights and nothing else is seen by torch's own reader of plain weights, in the converter.
"""

from __future__ import annotations

from builder.errors import SpecError, UnsupportedModel
from builder.formats.known import SAFETENSORS, TORCH_PICKLE, Kind, Sighting
from builder.model.manifest import ModelManifest
from builder.model.problems import suggestion
from builder.model.source import Detection, ModelSource

_EXAMPLE = (
    "file: weights.safetensors\n"
    "module: {{file: net.py, class: Net, arguments: {{width: 64}}}}\n"
    "inputs:\n  image: {{datatype: FP32, shape: [batch, 3, 224, 224]}}"
)


class WeightsWithoutModule(UnsupportedModel):
    code = "weights-without-module"
    message = "{path} holds weights, but not the code that computes with them"
    hint = (
        "put the Python file with the torch.nn.Module beside it and name it in model.yaml, for example\n"
        f"{_EXAMPLE}\nor save the whole model: torch.export.save(torch.export.export(model, args), 'model.pt2')"
    )


class ModuleMissing(SpecError):
    code = "module-missing"
    message = "model.yaml: the format {format} needs a `module`, the code that computes with the weights"
    hint = f"for example\n{_EXAMPLE}"


class ModuleFileMissing(SpecError):
    code = "module-file-missing"
    message = "model.yaml: module.file: {file!r} is not in the directory{suggestion}"
    hint = "name the Python file relative to the directory"


class TorchStateFormat:
    """Weights that ``module`` of model.yaml gives a meaning; ``kinds`` are the files that hold them."""

    name = "torch-state"
    summary = "PyTorch: weights (state_dict, safetensors) with a `module` in model.yaml"
    kinds: tuple[Kind, ...] = (TORCH_PICKLE, SAFETENSORS)

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(
            Detection(format=self.name, entry=sighting.path, evidence=(str(sighting),))
            for sighting in sightings
            if sighting.kind in self.kinds
        )


def require_module(source: ModelSource, manifest: ModelManifest) -> None:
    """Raises ModuleMissing or ModuleFileMissing."""
    if manifest.module is None:
        raise ModuleMissing(format=manifest.format)
    if source.find(manifest.module.file) is None:
        names = [str(file.path) for file in source.files if file.path.suffix == ".py"]
        raise ModuleFileMissing(file=str(manifest.module.file), suggestion=suggestion(str(manifest.module.file), names))
