"""The docker-archive format: what ``docker save`` writes and every engine's ``docker load`` reads.

A tar with ``manifest.json``, one config and the layers. There is no specification; the reader takes what Docker 20.10
(``<id>/layer.tar``, repeated layers as links) and 25 on (``blobs/sha256/<hex>``) write, the writer gives what both
take. Layers may lie in it compressed.
"""

from __future__ import annotations

import json
import posixpath
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.canonical import canonical_json
from builder.errors import IntegrityError
from builder.oci import tar
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.tar_reader import open_tar
from builder.oci.verify import CHUNK


class MalformedArchive(IntegrityError):
    code = "malformed-archive"
    message = "the engine's archive is malformed: {reason}"
    hint = "`--engine embedded` needs no engine; please report what `docker version` prints"


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedImage:
    """The one image of an archive: its config's bytes, and its layers in order as files, perhaps compressed."""

    config: bytes
    layers: tuple[Path, ...]


def read_archive(chunks: Iterable[bytes], directory: Path) -> SavedImage:
    """Read an archive of one image; its files go to ``directory``, named by number. Raises MalformedArchive."""
    files: dict[str, Path] = {}
    links: dict[str, str] = {}
    with open_tar(chunks) as archive:
        for member in archive:
            name = posixpath.normpath(member.name)
            if member.issym() or member.islnk():
                folder = posixpath.dirname(name) if member.issym() else ""
                links[name] = posixpath.normpath(posixpath.join(folder, member.linkname))
            elif member.isreg() and (source := archive.extractfile(member)) is not None:
                files[name] = directory / str(len(files))
                with files[name].open("wb") as out:
                    shutil.copyfileobj(source, out, CHUNK)

    def find(name: str) -> Path:
        found = files.get(name) or files.get(links.get(name, ""))
        if found is None:
            raise MalformedArchive(reason=f"it has no {name}")
        return found

    try:
        listed = json.loads(find("manifest.json").read_bytes())
        image = listed[0] if len(listed) == 1 else None
        if image is None:
            raise MalformedArchive(reason="it does not hold exactly one image")
        config, layers = str(image["Config"]), [str(name) for name in image["Layers"] or ()]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedArchive(reason=f"its manifest.json is not understood ({error})") from error
    return SavedImage(config=find(config).read_bytes(), layers=tuple(find(name) for name in layers))


def write_archive(layout: Layout, manifest: Manifest, tags: Sequence[str], known: int = 0) -> Iterator[bytes]:
    """The archive of an image, streamed; layers go as they are stored, but for the ``known`` lowest, which are only
    named (an engine that has them does not look for them). Raises WrongBytes for a damaged blob."""
    config = layout.config(manifest)
    layers = {f"{layer.digest.hex}.tar": layer for layer in manifest.layers[known:]}
    listing = [
        {
            "Config": f"{config.digest.hex}.json",
            "RepoTags": list(tags) or None,
            "Layers": [f"{layer.digest.hex}.tar" for layer in manifest.layers],
        }
    ]
    yield from _member("manifest.json", canonical_json(listing))
    yield from _member(f"{config.digest.hex}.json", config.raw)
    for name, layer in layers.items():
        yield _header(name, layer.digest, layer.size)
        yield from layout.read_blob(layer)
        yield tar.padding(layer.size)
    yield tar.END


def _member(name: str, content: bytes) -> Iterator[bytes]:
    yield _header(name, Digest.of(content), len(content)) + content + tar.padding(len(content))


def _header(name: str, digest: Digest, size: int) -> bytes:
    path = PurePosixPath("/") / name
    return tar.header(FileEntry(path=path, kind=EntryKind.FILE, mode=0o644, digest=digest, size=size))
