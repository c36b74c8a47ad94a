"""The layers of an image's models as a CNCF ModelPack artifact (modelpack/model-spec v0.0.7): the same blobs under
other media types.

Every layer is a piece of one directory, ``models``: a reader lays them over one another, as those of an image. So its
path is that directory in all of them, which is also where KitOps unpacks them right (it puts the files of a tar below
the directory that the path is in; modctl and others go by the names in the tar). The layer that makes the directories
comes first, since readers make none for the others.
"""

from __future__ import annotations

from dataclasses import replace

from builder.assemble.uses import Part, SplitImage, spoken_annotations
from builder.canonical import canonical_json
from builder.errors import UsageError
from builder.model.attached import SUB_PATH
from builder.model.face import Face
from builder.model.modelpack import CONFIG_TYPE, FILE_PATH, MANIFEST_TYPE, build_config, weight_type
from builder.oci.descriptor import Descriptor
from builder.oci.graph import CONFIG_ROLE, Blob, Graph
from builder.oci.manifest import Document, Manifest
from builder.plan.image import LayerRole

_METADATA, _UNTESTED = "org.cncf.model.file.metadata+json", "org.cncf.model.file.mediatype.untested"
_DIRECTORY = 5
"""As modctl numbers kinds of files."""

_ANNOTATIONS = {
    FILE_PATH: SUB_PATH,
    _METADATA: canonical_json(
        {
            "name": SUB_PATH,
            "mode": 0o755,
            "uid": 0,
            "gid": 0,
            "size": 0,
            "mtime": "1970-01-01T00:00:00Z",
            "typeflag": _DIRECTORY,
        }
    ).decode(),
    _UNTESTED: "false",
}


class FaceMissing(UsageError):
    code = "face-missing"
    message = "{digest} does not say in its labels what its models are"
    hint = "an early version of mbuild made it; build it again"


def modelpack(image: SplitImage, subject: Descriptor) -> Graph:
    """The artifact of the image's models, about ``subject``. Raises FaceMissing, MalformedFace."""
    config, manifest_digest = image.config, image.manifest.digest
    face = Face.from_labels(config.labels, platform=str(config.platform), ports=(), image=str(manifest_digest))
    if face is None:
        raise FaceMissing(digest=manifest_digest)
    parts = sorted(image.models, key=lambda part: part.blob.role != LayerRole.MODEL)
    blobs = tuple(map(_as_weights, parts))
    created = str(config.fields.get("created", ""))
    raw = build_config(face, config.labels, created, [part.diff_id for part in parts])
    own = Blob(descriptor=Descriptor.of(raw, CONFIG_TYPE), open=lambda: (raw,), role=CONFIG_ROLE)
    manifest = Manifest.build_artifact(
        artifact_type=MANIFEST_TYPE,
        config=own.descriptor,
        layers=[blob.descriptor for blob in blobs],
        subject=subject,
        annotations=spoken_annotations(image),
    )
    top = Document(descriptor=manifest.descriptor, raw=manifest.raw)
    return Graph(blobs=(*blobs, own), documents=(top,))


def _as_weights(part: Part) -> Blob:
    descriptor = part.blob.descriptor
    named = replace(descriptor, media_type=weight_type(descriptor.media_type), annotations=_ANNOTATIONS)
    return replace(part.blob, descriptor=named)
