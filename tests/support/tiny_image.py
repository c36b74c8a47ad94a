"""A whole image of a few kilobytes: a gzip layer that looks like a root filesystem, and a plain one with "weights"."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from builder.oci.config import ImageConfig
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layer_writer import Compression, WrittenLayer, write_layer
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform

AMD64 = Platform(os="linux", architecture="amd64")
OS_RELEASE = b'ID=debian\nVERSION_ID="13"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n'
STATUS = b"Package: tiny\nStatus: install ok installed\nVersion: 1.0-1\nArchitecture: all\nMaintainer: nobody\n"


def tiny_layout(
    directory: Path,
    *,
    platform: Platform = AMD64,
    weights: bytes = bytes(range(256)) * 64,
    base_name: str = "",
    roles: tuple[str, str] | None = None,
    holds: str = "",
    more: tuple[str, ...] = (),
    labels: Mapping[str, str] | None = None,
) -> Layout:
    """An OCI layout in ``directory`` with (after several calls: one more) image; with ``roles``, as one of mbuild's,
    ``holds`` being what the upper layer says of itself. ``more``: paths of files that it also has; ``labels`` are those
    of its config."""
    files = {"etc/os-release": OS_RELEASE, "var/lib/dpkg/status.d/tiny": STATUS, **dict.fromkeys(more, b"")}
    blobs = directory / "layers"
    blobs.mkdir(parents=True, exist_ok=True)
    written = [
        _layer({PurePosixPath("/", name): content for name, content in files.items()}, Compression.GZIP, blobs),
        _layer({PurePosixPath("/model/weights.bin"): weights}, Compression.NONE, blobs),
    ]
    config = ImageConfig.build(
        platform=platform,
        created="2026-01-01T00:00:00Z",
        settings={
            "Entrypoint": ["/nothing"],
            "User": "65532:65532",
            **({"Labels": dict(labels), "ExposedPorts": {"8080/tcp": {}}} if labels else {}),
        },
        diff_ids=[layer.diff_id for layer in written],
        history=_history(roles, holds),
    )
    layers = [layer.descriptor for layer in written]
    annotations = {"org.opencontainers.image.base.name": base_name} if base_name else {}
    manifest = Manifest.build(config=config.descriptor, layers=layers, annotations=annotations)
    layout = Layout(directory / "layout")
    layout.write_image(manifest, config, lambda digest: blobs / digest.hex)
    return layout


def _history(roles: tuple[str, str] | None, holds: str) -> list[dict[str, str]]:
    if roles is None:
        return [{"created_by": "tests", "comment": "not mbuild's"}] * 2
    lower, upper = ({"created_by": f"mbuild: {role}"} for role in roles)
    return [lower, {**upper, **({"comment": holds} if holds else {})}]


def _layer(files: dict[PurePosixPath, bytes], compression: Compression, blobs: Path) -> WrittenLayer:
    contents = {Digest.of(content): content for content in files.values()}
    parents = {parent for path in files for parent in path.parents if parent != PurePosixPath("/")}
    entries = [FileEntry.directory(parent) for parent in parents]
    entries += [
        FileEntry(path=path, kind=EntryKind.FILE, mode=0o644, digest=Digest.of(content), size=len(content))
        for path, content in files.items()
    ]
    out = io.BytesIO()
    written = write_layer(entries, lambda digest: io.BytesIO(contents[digest]), compression, out)
    (blobs / written.descriptor.digest.hex).write_bytes(out.getvalue())
    return written
