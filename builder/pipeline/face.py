"""The face of an image that is about to be planned (builder/model/face.py): what its labels will say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from builder.canonical import canonical_json, content_key
from builder.formats.onnx_parameters import read_parameters
from builder.host import Host
from builder.model.face import PACKAGES, Face, FaceModel, FaceParity
from builder.model.manifest import ModelManifest
from builder.oci.digest import Digest
from builder.pipeline.answered import AnsweredModel
from builder.pipeline.base import ResolvedBase
from builder.plan.image import ImagePlan
from builder.plan.spec import BuildSpec
from builder.resources import schema_file
from builder.targets.lock import LockedTarget

_CHECKED = "faces"

MOST_LABEL = 4096
"""Bytes of a label's key and value that containerd takes on a container (labels/validate.go). From a longer one some
versions start no container (containerd#6123), so a base of so many packages is known by its digest alone."""


def image_face(
    spec: BuildSpec, manifest: ModelManifest, models: Sequence[AnsweredModel], base: ResolvedBase, locked: LockedTarget
) -> Face:
    """Without what only the plan decides: its ports and its GPU libraries."""
    return Face(
        name=manifest.name,
        version=manifest.version,
        description=_one_line(manifest.description),
        licence=_one_line(manifest.licence),
        models=tuple(map(_face_model, models)),
        server=spec.server,
        target=spec.target,
        platform=str(spec.platform),
        ports=(),
        base_name=base.name,
        base_digest=str(base.digest),
        lock_digest=str(Digest.of(canonical_json(locked.to_json()))),
        wheels={wheel.name: wheel.version for wheel in locked.wheels},
        packages=packages_that_fit(base.packages),
    )


def packages_that_fit(packages: Mapping[str, str]) -> Mapping[str, str]:
    """All of them, or none where they are more than a label may hold."""
    return packages if len(PACKAGES) + len(canonical_json(dict(packages))) <= MOST_LABEL else {}


def check_face(plan: ImagePlan, host: Host) -> None:
    """See that a reader of the image will find its face in the labels, once for the same labels: a JSON Schema takes
    longer to load than many a build. Raises MalformedFace."""
    labels, schema = dict(plan.config.labels), str(Digest.of(schema_file("face").read_bytes()))
    key = content_key({"labels": labels, "platform": str(plan.platform), "schema": schema})
    if host.store.record(_CHECKED, key) is None:
        Face.from_labels(labels, platform=str(plan.platform), ports=plan.config.ports)
        host.store.put_record(_CHECKED, key, {"valid": True})


def _face_model(one: AnsweredModel) -> FaceModel:
    model, verdict = one.model, one.parity
    tolerance = verdict.tolerance.default
    return FaceModel(
        name=one.manifest.name,
        version=one.manifest.version,
        format=model.format,
        signature=model.plain.interface.signature if model.plain else model.signature,
        parity=FaceParity(
            cases=len((verdict.conversion or verdict.golden).cases),
            edges=verdict.agreeing_edges,
            absolute=tolerance.absolute,
            relative=tolerance.relative,
        ),
        quantized=model.quantize.chosen if model.quantize and model.quantize.is_smaller else "",
        frameworks=verdict.frameworks,
        parameters=read_parameters(model.artifact.graph),
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
