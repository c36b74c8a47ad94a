"""The Docker assembler: builds the rendered Dockerfile in an engine and brings the image home into an OCI layout.

It executes the same plan as the embedded assembler and gives the same files and settings; the engine stamps its own
times, so the digest differs from build to build. Layers are stored as the plan says, whatever the engine did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat
from pathlib import Path

from builder.assemble.embedded import STEP, validate_once
from builder.assemble.image import AssembledImage, AssembledLayer
from builder.events import Progress
from builder.host import Host
from builder.host.docker import DockerEngine
from builder.host.fs import disk_errors, temporary_directory
from builder.host.trees import StagedTree
from builder.oci.config import ImageConfig
from builder.oci.descriptor import LAYER_GZIP, LAYER_TAR
from builder.oci.docker_archive import MalformedArchive, SavedImage, read_archive
from builder.oci.layer_writer import Compression, store_tar
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.verify import CHUNK, uncompressed
from builder.plan.image import ImagePlan, LayerRole

ContextWriter = Callable[[ImagePlan, StagedTree, Path], None]
_GZIP_MAGIC = b"\x1f\x8b"


class DockerAssembler:
    """``write_context`` writes a Dockerfile and what it copies; the engine builds it."""

    def __init__(self, host: Host, engine: DockerEngine, write_context: ContextWriter) -> None:
        self._host = host
        self._engine = engine
        self._write_context = write_context

    def assemble(self, plan: ImagePlan, tree: StagedTree, output: Path) -> AssembledImage:
        """See ``Assembler``."""
        with temporary_directory(self._host.store.root / "tmp") as scratch:
            image_id = self._build(plan, tree, scratch / "context")
            with disk_errors(scratch):
                (scratch / "saved").mkdir()
                saved = read_archive(self._engine.save(image_id), scratch / "saved")
            return _bring_home(saved, _compressions(plan), dict(plan.annotations), output, self._host)

    def _build(self, plan: ImagePlan, tree: StagedTree, context: Path) -> str:
        """The image's id. The base is pulled first: a build over the API has no logins to pull a private one itself."""
        if plan.base:
            self._engine.pull(str(plan.base.reference))
        self._write_context(plan, tree, context)
        lines = 0

        def on_line(_: str) -> None:
            nonlocal lines
            lines += 1
            self._host.events.emit(Progress(step=STEP, done=lines, total=None, unit="lines"))

        return self._engine.build(context, on_line=on_line)


def export_image(image_id: str, engine: DockerEngine, output: Path, host: Host) -> AssembledImage:
    """An image of the engine in the layout ``output``, every layer as gzip; whose each layer is, the engine does not
    know."""
    with temporary_directory(host.store.root / "tmp") as scratch:
        saved = read_archive(engine.save(image_id), scratch)
        return _bring_home(saved, repeat((LayerRole.BASE, Compression.GZIP)), {}, output, host)


def _bring_home(
    saved: SavedImage,
    placing: Iterator[tuple[LayerRole, Compression]],
    annotations: Mapping[str, str],
    output: Path,
    host: Host,
) -> AssembledImage:
    """Store the layers of a saved image, lowest first, as ``placing`` says for each."""
    config = ImageConfig(saved.config)
    if len(saved.layers) != len(config.diff_ids):
        raise MalformedArchive(reason=f"{len(saved.layers)} layers, {len(config.diff_ids)} diff_ids")
    layers = []
    for path, diff_id, (role, compression) in zip(saved.layers, config.diff_ids, placing, strict=False):
        with host.store.temporary_blob() as out:
            written = store_tar(_tar_of(path), compression, out)
            if written.diff_id != diff_id:
                raise MalformedArchive(reason=f"a layer is {written.diff_id}, its config says {diff_id}")
            host.store.commit(out)
        layers.append(AssembledLayer(descriptor=written.descriptor, diff_id=diff_id, role=role))
    manifest = Manifest.build(
        config=config.descriptor, layers=[layer.descriptor for layer in layers], annotations=annotations
    )
    with disk_errors(output):
        entry = Layout(output).write_image(manifest, config, host.store.blob_path)
    image = AssembledImage(path=output, manifest=manifest, config=config, layers=tuple(layers))
    validate_once(host.store, image, entry)
    return image


def _compressions(plan: ImagePlan) -> Iterator[tuple[LayerRole, Compression]]:
    """Role and compression of the image's layers, lowest first. An engine may add layers of its own on top (for
    WORKDIR): they belong to the last."""
    for _ in plan.base.layers if plan.base else ():
        yield LayerRole.BASE, Compression.GZIP
    role, compression = LayerRole.BASE, Compression.GZIP
    for layer in plan.layers:
        role, compression = layer.role, layer.compression
        yield role, compression
    while True:
        yield role, compression


def _tar_of(path: Path) -> Iterator[bytes]:
    """The plain tar in a saved layer: newer engines save layers compressed."""
    with path.open("rb") as stream:
        magic = stream.read(len(_GZIP_MAGIC))
        stream.seek(0)
        media_type = LAYER_GZIP if magic == _GZIP_MAGIC else LAYER_TAR
        yield from uncompressed(iter(lambda: stream.read(CHUNK), b""), media_type)
