"""Parameters of JAX (flax's msgpack, safetensors, .npz): a model only together with the Python code that computes with
them, which ``module`` of model.yaml names.

Refused with what to do: programs of jax.export and other StableHLO, which no exporter turns into ONNX.
"""

from __future__ import annotations

from builder.errors import UnsupportedModel
from builder.formats.known import FLAX_MSGPACK, SAFETENSORS, STABLEHLO, Kind, Sighting
from builder.model.manifest import ModelManifest
from builder.model.source import Detection, ModelSource

_EXAMPLE = (
    "format: jax\nmodule: {{file: net.py, class: Net, arguments: {{width: 8}}}}\n"
    "inputs:\n  image: {{datatype: FP32, shape: [batch, 8, 8, 1]}}"
)


class ParametersWithoutModule(UnsupportedModel):
    code = "parameters-without-module"
    message = "{path} holds parameters of flax, but not the code that computes with them"
    hint = (
        f"put the Python file with the module or function beside it and name it in model.yaml, for example\n{_EXAMPLE}"
    )


class StableHloNotRead(UnsupportedModel):
    code = "stablehlo-not-read"
    message = "{path} is a program of jax.export (StableHLO), and no exporter turns that into ONNX"
    hint = (
        "save the parameters instead (flax.serialization.msgpack_serialize, or safetensors), put the Python file that "
        f"computes with them beside it, and name it in model.yaml, for example\n{_EXAMPLE}"
    )


class JaxFormat:
    """Parameters that ``module`` of model.yaml gives a meaning."""

    name = "jax"
    summary = "JAX: parameters (.msgpack, .safetensors, .npz) with a `module` in model.yaml"
    kinds: tuple[Kind, ...] = (FLAX_MSGPACK, SAFETENSORS)

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        seen = [(sighting.path, str(sighting)) for sighting in sightings if sighting.kind in self.kinds]
        for file in source.files:
            if file.path.suffix == ".npz" and file.path.parts[0] != "golden" and file.path.name != "example.npz":
                seen.append((file.path, f"{file.path} holds arrays by name"))
        return tuple(Detection(format=self.name, entry=path, evidence=(text,)) for path, text in seen)

    def refusal(self, sightings: tuple[Sighting, ...]) -> UnsupportedModel | None:
        """What to say of a directory that holds no model but something of JAX."""
        for sighting in sightings:
            if sighting.kind is STABLEHLO:
                return StableHloNotRead(path=sighting.path)
            if sighting.kind is FLAX_MSGPACK:
                return ParametersWithoutModule(path=sighting.path)
        return None

    def is_meant(self, manifest: ModelManifest, sightings: tuple[Sighting, ...]) -> bool:
        """Whether a ``module`` without a ``format`` is code of JAX: its parameters are flax's own kind of file."""
        return manifest.module is not None and any(sighting.kind == FLAX_MSGPACK for sighting in sightings)
