"""Lays the layers of an image out as real files (image-spec layer.md, "Applying changesets"), to run it without an
engine.

``unpack_layer`` writes one layer as it is, whiteouts and all; ``stack_layers`` puts several on top of one another, with
hard links. Works as an ordinary user: owners are not set, set-uid bits are dropped, devices and FIFOs are left out, and
directories stay writable for their owner. Nothing is ever written outside of the destination: links are followed as if
it were the root.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from builder.oci.descriptor import Descriptor
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.tar_reader import OPAQUE, WHITEOUT, UnsafeLayer, open_tar, safe_path
from builder.oci.verify import CHUNK, uncompressed

_MOST_LINKS = 40


class _LinkLoop(Exception):
    pass


def unpack_layers(layout: Layout, manifest: Manifest, destination: Path) -> None:
    """The whole file system of an image below ``destination``, an empty directory."""
    parts = destination.with_name(f"{destination.name}.layers")
    try:
        directories = []
        for number, layer in enumerate(manifest.layers):
            directory = parts / str(number)
            directory.mkdir(parents=True)
            unpack_layer(layout, layer, directory)
            directories.append(directory)
        stack_layers(directories, destination)
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def unpack_layer(layout: Layout, layer: Descriptor, directory: Path) -> None:
    """One layer as files below ``directory``. Raises WrongBytes, UnreadableLayer or UnsafeLayer."""
    chunks = uncompressed(layout.read_blob(layer), layer.media_type)
    with open_tar(chunks) as archive:
        for member in archive:
            try:
                _unpack_member(archive, member, layer, directory)
            except _LinkLoop as error:
                raise UnsafeLayer(digest=layer.digest, path=member.name, reason="behind a loop of links") from error
    for _ in chunks:  # to the end, where the digest is checked
        pass


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, layer: Descriptor, directory: Path) -> None:
    path = safe_path(member.name, layer.digest)
    if path == PurePosixPath("."):
        return
    place = _place(directory, path)
    if member.isdir():
        if place.is_symlink() or not place.is_dir():
            _clear(place)
            place.mkdir()
        place.chmod((member.mode & 0o1777) | 0o700)
        return
    _clear(place)
    if member.issym():
        place.symlink_to(member.linkname)
    elif member.islnk():
        source = _place(directory, safe_path(member.linkname, layer.digest))
        if source.is_symlink() or not source.is_file():
            raise UnsafeLayer(digest=layer.digest, path=member.name, reason="a hard link to what the layer has not")
        os.link(source, place)
    elif member.isreg():
        source_file = archive.extractfile(member)
        with place.open("wb") as out:
            if source_file is not None:
                shutil.copyfileobj(source_file, out, CHUNK)
        place.chmod((member.mode & 0o777) | 0o400)


def stack_layers(directories: Sequence[Path], destination: Path) -> None:
    """Apply unpacked layers, lowest first, to ``destination``. Files become hard links, so treat them as read-only."""
    destination.mkdir(parents=True, exist_ok=True)
    for directory in directories:
        _apply(directory, destination)


def _apply(layer: Path, destination: Path) -> None:
    """Put one unpacked layer on top of what is there. Its whiteouts only hide what is below, so they come first.

    A directory takes the place of a link of the same name, so no parent of ``target`` is a link.
    """
    for root, directories, files in os.walk(layer):
        target = destination / Path(root).relative_to(layer)
        target.chmod(Path(root).stat().st_mode & 0o7777)
        for name in files:
            if name == OPAQUE:
                for hidden in list(target.iterdir()):
                    _clear(hidden)
            elif name.startswith(WHITEOUT):
                _clear(target / name.removeprefix(WHITEOUT))
        for name in files:
            if not name.startswith(WHITEOUT):
                _clear(target / name)
                os.link(Path(root, name), target / name, follow_symlinks=False)
        for name in directories:
            source, place = Path(root, name), target / name
            if source.is_symlink():
                _clear(place)
                place.symlink_to(source.readlink())
            elif place.is_symlink() or not place.is_dir():
                _clear(place)
                place.mkdir()


def _place(root: Path, path: PurePosixPath) -> Path:
    """Where ``path`` lies below ``root``: links among its parents are followed inside of ``root``, missing parents are
    made."""
    place, left, links = root, list(path.parent.parts), 0
    while left:
        part = left.pop(0)
        if part in ("", ".", "/"):
            continue
        if part == "..":
            place = place if place == root else place.parent
            continue
        step = place / part
        if step.is_symlink():
            links += 1
            if links > _MOST_LINKS:
                raise _LinkLoop
            target = PurePosixPath(step.readlink().as_posix())
            left[:0] = target.parts
            place = root if target.is_absolute() else place
            continue
        if not step.is_dir():
            _clear(step)
            step.mkdir()
        place = step
    return place / path.name


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
