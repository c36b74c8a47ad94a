"""A package's face: what its image says of itself to whoever reads only its manifest and its config.

``Face`` is written into the image's labels (``dev.mbuild.*``; what is a structure is canonical JSON in one label), so
it has nothing that depends on the machine that built it; what was measured is ``Measured`` (builder/model/measured.py),
which is attached to the image. The fields are those of builder/schemas/face.schema.json.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from builder.canonical import canonical_json
from builder.errors import IntegrityError
from builder.model.parameters import UNKNOWN, Parameters
from builder.model.problems import Problem, listing
from builder.model.schema_check import check_schema
from builder.model.signature import Datatype, Signature, TensorSpec

SCHEMA = 1

FACE_LABEL = "dev.mbuild.face"
TITLE, VERSION = "org.opencontainers.image.title", "org.opencontainers.image.version"
DESCRIPTION, LICENCES = "org.opencontainers.image.description", "org.opencontainers.image.licenses"
SERVER, TARGET = "dev.mbuild.server", "dev.mbuild.target"
MODELS, SIGNATURE, PARITY = "dev.mbuild.models", "dev.mbuild.signature", "dev.mbuild.parity"
WHEELS, PACKAGES = "dev.mbuild.wheels", "dev.mbuild.packages"
BASE_NAME, BASE_DIGEST, LOCK_DIGEST = "dev.mbuild.base.name", "dev.mbuild.base.digest", "dev.mbuild.lock.digest"
GPU_CUDA, GPU_DRIVER = "dev.mbuild.gpu.cuda", "dev.mbuild.gpu.driver"
GPU_CAPABILITIES, GPU_PARTS = "dev.mbuild.gpu.capabilities", "dev.mbuild.gpu.parts"
_PTX = "+ptx"


class MalformedFace(IntegrityError):
    code = "malformed-face"
    message = "what {image} says of itself in its labels cannot be read:\n{problems}"
    hint = "another version of mbuild made it, or somebody changed its labels; {image} may serve all the same"


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceParity:
    """What a model was asked before it was packed: how many golden cases, how many edges beside them (those that its
    source answers), and the tolerance within which all agree. How close they came depends on the machine: Measured."""

    cases: int
    edges: int
    absolute: float
    relative: float

    def to_json(self) -> dict[str, object]:
        return {"cases": self.cases, "edges": self.edges, "absolute": self.absolute, "relative": self.relative}


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceModel:
    """One model: ``format`` is that of its source, ``quantized`` the choice that made it smaller or empty,
    ``signature`` what clients see under its name, ``frameworks`` the versions of what it was converted with,
    ``parameters`` those of the graph that is in the image."""

    name: str
    version: str
    format: str
    signature: Signature
    parity: FaceParity
    quantized: str = ""
    frameworks: Mapping[str, str] = field(default_factory=dict)
    parameters: Parameters = UNKNOWN

    def to_json(self) -> dict[str, object]:
        return {**self._named(), "signature": self.signature.to_json(), "parity": self.parity.to_json()}

    def _named(self) -> dict[str, object]:
        """Without what has a label of its own."""
        return {
            "name": self.name,
            "version": self.version,
            "format": self.format,
            "quantized": self.quantized,
            "frameworks": dict(sorted(self.frameworks.items())),
            "parameters": self.parameters.count,
            "precision": list(self.parameters.precision),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> FaceModel:
        given = dict(value)
        sides = {side: tuple(map(_tensor, given["signature"][side])) for side in ("inputs", "outputs")}
        counted = Parameters(count=given.pop("parameters", 0), precision=tuple(given.pop("precision", ())))
        parity = FaceParity(**given["parity"])
        return cls(**{**given, "signature": Signature(**sides), "parity": parity, "parameters": counted})


@dataclass(frozen=True, kw_only=True, slots=True)
class FaceGpu:
    """What an image for a GPU asks of its machine: ``cuda`` as in 13.0, ``driver`` the oldest, ``capabilities`` as in
    8.6, ``ptx`` the one from which the driver compiles for later ones or empty; ``parts`` are the libraries in it."""

    cuda: str
    driver: str
    capabilities: tuple[str, ...]
    ptx: str = ""
    parts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "cuda": self.cuda,
            "driver": self.driver,
            "capabilities": list(self.capabilities),
            "ptx": self.ptx,
            "parts": list(self.parts),
        }

    def to_labels(self) -> dict[str, str]:
        return {
            GPU_CUDA: self.cuda,
            GPU_DRIVER: self.driver,
            GPU_CAPABILITIES: " ".join((*self.capabilities, *([self.ptx + _PTX] if self.ptx else []))),
            GPU_PARTS: " ".join(self.parts),
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Face:
    """``name``, ``version``, ``description`` and ``licence`` (SPDX) are the image's; ``server`` is http or triton;
    ``platform`` as in linux/amd64; ``base`` is the name and the digest of what the image stands on; ``lock`` the digest
    of the lock's entry that it was built from; ``wheels`` are the versions of the Python packages in it, ``packages``
    those of the Debian packages (none where they are not known, or more than a label holds)."""

    name: str
    version: str
    models: tuple[FaceModel, ...]
    server: str
    target: str
    platform: str
    ports: tuple[int, ...]
    base_name: str
    base_digest: str
    lock_digest: str
    description: str = ""
    licence: str = ""
    wheels: Mapping[str, str] = field(default_factory=dict)
    packages: Mapping[str, str] = field(default_factory=dict)
    gpu: FaceGpu | None = None

    def to_json(self) -> dict[str, object]:
        """As builder/schemas/face.schema.json has it."""
        return {
            "schema": SCHEMA,
            "name": self.name,
            "version": self.version,
            "description": self.description,
            "licence": self.licence,
            "models": [model.to_json() for model in self.models],
            "server": self.server,
            "target": self.target,
            "platform": self.platform,
            "ports": list(self.ports),
            "base": {"name": self.base_name, "digest": self.base_digest},
            "lock": {"digest": self.lock_digest},
            "wheels": dict(sorted(self.wheels.items())),
            "packages": dict(sorted(self.packages.items())),
            "gpu": self.gpu.to_json() if self.gpu else None,
        }

    @classmethod
    def from_json(cls, value: object, image: str = "the image") -> Face:
        """Raises MalformedFace with all problems; ``image`` is what the error calls it."""
        require_face(value, image)
        assert isinstance(value, dict)
        given: dict[str, Any] = {key: value[key] for key in value if key not in ("schema", "base", "lock")}
        gpu = given["gpu"]
        given["models"] = tuple(map(FaceModel.from_json, given["models"]))
        given["ports"] = tuple(given["ports"])
        given["gpu"] = gpu and FaceGpu(
            **{**gpu, "capabilities": tuple(gpu["capabilities"]), "parts": tuple(gpu["parts"])}
        )
        base, lock = value["base"], value["lock"]
        return cls(**given, base_name=base["name"], base_digest=base["digest"], lock_digest=lock["digest"])

    def to_labels(self) -> dict[str, str]:
        """The labels that say all of it but the platform and the ports, which have places of their own in an image's
        config. One line each: a label with a line break cannot be written in a Dockerfile."""
        labels = {
            FACE_LABEL: str(SCHEMA),
            TITLE: self.name,
            VERSION: self.version,
            DESCRIPTION: self.description,
            LICENCES: self.licence,
            SERVER: self.server,
            TARGET: self.target,
            MODELS: _text([model._named() for model in self.models]),
            SIGNATURE: _text({model.name: model.signature.to_json() for model in self.models}),
            PARITY: _text({model.name: model.parity.to_json() for model in self.models}),
            WHEELS: _text(dict(self.wheels)),
            PACKAGES: _text(dict(self.packages)) if self.packages else "",
            BASE_NAME: self.base_name,
            BASE_DIGEST: self.base_digest,
            LOCK_DIGEST: self.lock_digest,
            **(self.gpu.to_labels() if self.gpu else {}),
        }
        return {key: value for key, value in labels.items() if value}

    @classmethod
    def from_labels(
        cls, labels: Mapping[str, str], *, platform: str, ports: Sequence[int], image: str = "the image"
    ) -> Face | None:
        """None where mbuild did not write them. Raises MalformedFace; ``image`` is what the error calls it."""
        if FACE_LABEL not in labels:
            return None
        parts = {key: _value(labels, key, image) for key in (MODELS, SIGNATURE, PARITY, WHEELS)}
        value = {
            "schema": _value(labels, FACE_LABEL, image),
            "name": labels.get(TITLE, ""),
            "version": labels.get(VERSION, ""),
            "description": labels.get(DESCRIPTION, ""),
            "licence": labels.get(LICENCES, ""),
            "models": _models(parts[MODELS], parts[SIGNATURE], parts[PARITY]),
            "server": labels.get(SERVER, ""),
            "target": labels.get(TARGET, ""),
            "platform": platform,
            "ports": list(ports),
            "base": {"name": labels.get(BASE_NAME, ""), "digest": labels.get(BASE_DIGEST, "")},
            "lock": {"digest": labels.get(LOCK_DIGEST, "")},
            "wheels": parts[WHEELS],
            "packages": _value(labels, PACKAGES, image) if PACKAGES in labels else {},
            "gpu": _gpu(labels) if GPU_CUDA in labels else None,
        }
        return cls.from_json(value, image)


def require_face(value: object, image: str = "the image") -> None:
    """Raise MalformedFace where ``value`` is not what builder/schemas/face.schema.json describes."""
    if problems := check_schema(value, "face"):
        raise MalformedFace(image=image, problems=listing(problems))


def _text(value: object) -> str:
    return canonical_json(value).decode()


def _value(labels: Mapping[str, str], key: str, image: str) -> Any:
    try:
        return json.loads(labels.get(key, "null"))
    except (ValueError, RecursionError) as error:
        raise MalformedFace(image=image, problems=listing([Problem(key, f"it is not JSON: {error}")])) from error


def _models(named: Any, signatures: Any, parities: Any) -> object:
    """What is not of the expected kinds is left for the schema to name."""
    if not (isinstance(named, list) and isinstance(signatures, dict) and isinstance(parities, dict)):
        return named
    return [
        {**one, "signature": signatures.get(one.get("name")), "parity": parities.get(one.get("name"))}
        if isinstance(one, dict) and isinstance(one.get("name"), str)
        else one
        for one in named
    ]


def _gpu(labels: Mapping[str, str]) -> dict[str, object]:
    words = labels.get(GPU_CAPABILITIES, "").split()
    return {
        "cuda": labels[GPU_CUDA],
        "driver": labels.get(GPU_DRIVER, ""),
        "capabilities": [word for word in words if not word.endswith(_PTX)],
        "ptx": next((word.removesuffix(_PTX) for word in words if word.endswith(_PTX)), ""),
        "parts": labels.get(GPU_PARTS, "").split(),
    }


def _tensor(value: Mapping[str, Any]) -> TensorSpec:
    return TensorSpec(name=value["name"], datatype=Datatype(value["datatype"]), shape=tuple(value["shape"]))
