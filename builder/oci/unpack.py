"""Lays the layers of an image out as real files (image-spec layer.md, "Applying changesets"), to run it without an
engine.

``unpack_layer`` writes one layer as it is, whiteouts and all, and notes which directories it names (a layer may add
below a directory that only a lower one describes); ``stack_layers`` puts several on top of one another, with hard
links. Works as an ordinary user: owners are not set, set-uid bits are dropped, devices and FIFOs are left out, and
directories stay writable for their owner. Nothing is ever written outside of the destination: links are followed as if
it were the root.
"""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from builder.canonical import canonical_json
from builder.oci.descriptor import Descriptor
from builder.oci.layout import Layout
from builder.oci.tar_reader import OPAQUE, WHITEOUT, UnsafeLayer, open_tar, safe_path
from builder.oci.verify import CHUNK, uncompressed

_ROOT, _DIRECTORIES = "root", "directories.json"
_MOST_LINKS = 40


class _LinkLoop(Exception):
    pass


def unpack_layers(layout: Layout, layers: Sequence[Descriptor], destination: Path, names: Sequence[str] = ()) -> None:
    """Some layers of an image, or all, on top of one another below ``destination``, an empty directory. ``names`` has,
    where not all are tars, for each layer the path of the one file that it is, or nothing."""
    parts = destination.with_name(f"{destination.name}.layers")
    try:
        directories = []
        for number, (layer, name) in enumerate(zip(layers, names or [""] * len(layers), strict=True)):
            directory = parts / str(number)
            directory.mkdir(parents=True)
            if name:
                unpack_file(layout, layer, name, directory)
            else:
                unpack_layer(layout, layer, directory)
            directories.append(directory)
        stack_layers(directories, destination)
    finally:
        shutil.rmtree(parts, ignore_errors=True)


def unpack_layer(layout: Layout, layer: Descriptor, directory: Path) -> None:
    """One layer below ``directory``: its files in ``root/``, the modes of the directories that it names in
    ``directories.json``. Raises WrongBytes, UnreadableLayer or UnsafeLayer."""
    root, modes = directory / _ROOT, {}
    root.mkdir()
    chunks = uncompressed(layout.read_blob(layer), layer.media_type)
    with open_tar(chunks) as archive:
        for member in archive:
            try:
                place = _unpack_member(archive, member, layer, root)
            except _LinkLoop as error:
                raise UnsafeLayer(digest=layer.digest, path=member.name, reason="behind a loop of links") from error
            if member.isdir():
                modes[place.relative_to(root).as_posix()] = (member.mode & 0o1777) | 0o700
    for _ in chunks:  # to the end, where the digest is checked
        pass
    (directory / _DIRECTORIES).write_bytes(canonical_json(modes))


def unpack_file(layout: Layout, blob: Descriptor, name: str, directory: Path) -> None:
    """The same of a blob that is one file, whose path is ``name``. Raises WrongBytes or UnsafeLayer."""
    root = directory / _ROOT
    root.mkdir()
    path = safe_path(name, blob.digest)
    if not path.name:
        raise UnsafeLayer(digest=blob.digest, path=name, reason="no file's name")
    place = _place(root, path)
    with place.open("wb") as out:
        out.writelines(layout.read_blob(blob))
    place.chmod(0o644)
    (directory / _DIRECTORIES).write_bytes(canonical_json({}))


def _unpack_member(archive: tarfile.TarFile, member: tarfile.TarInfo, layer: Descriptor, root: Path) -> Path:
    path = safe_path(member.name, layer.digest)
    if path == PurePosixPath("."):
        return root
    place = _place(root, path)
    if member.isdir():
        _make_directory(place)
        return place
    _clear(place)
    if member.issym():
        place.symlink_to(member.linkname)
    elif member.islnk():
        source = _place(root, safe_path(member.linkname, layer.digest))
        if source.is_symlink() or not source.is_file():
            raise UnsafeLayer(digest=layer.digest, path=member.name, reason="a hard link to what the layer has not")
        os.link(source, place)
    elif member.isreg():
        source_file = archive.extractfile(member)
        with place.open("wb") as out:
            if source_file is not None:
                shutil.copyfileobj(source_file, out, CHUNK)
        place.chmod((member.mode & 0o777) | 0o400)
    return place


def stack_layers(directories: Sequence[Path], destination: Path) -> None:
    """Apply unpacked layers, lowest first, to ``destination``. Files become hard links, so treat them as read-only."""
    destination.mkdir(parents=True, exist_ok=True)
    destination.chmod(0o755)  # whatever the umask: layers seldom name the root
    for directory in directories:
        modes = json.loads((directory / _DIRECTORIES).read_bytes())
        for name, files, target in _walk(directory / _ROOT, modes, destination):
            _apply(directory / _ROOT / name, files, target)
            if str(name) in modes:
                target.chmod(modes[str(name)])


def _walk(layer: Path, modes: Mapping[str, int], destination: Path) -> Iterator[tuple[PurePosixPath, list[str], Path]]:
    """Each directory of an unpacked layer, parents first: its name, what is in it that is no directory, and its place.

    A directory that the layer names takes the place of a link; one that it only passes through follows the link.
    """
    for found, names, others in os.walk(layer):
        name = PurePosixPath(Path(found).relative_to(layer).as_posix())
        target = _place(destination, name / "x").parent
        yield name, others + [each for each in names if Path(found, each).is_symlink()], target
        for each in names:
            if str(name / each) in modes and not Path(found, each).is_symlink():
                _make_directory(target / each)


def _apply(source: Path, names: Sequence[str], target: Path) -> None:
    """Put the files and links of one directory on top of what is there. Whiteouts come first: they only hide what is
    below."""
    for name in names:
        if name == OPAQUE:
            for hidden in list(target.iterdir()):
                _clear(hidden)
        elif name.startswith(WHITEOUT):
            _clear(target / name.removeprefix(WHITEOUT))
    for name in names:
        if not name.startswith(WHITEOUT):
            _link(f"{source}/{name}", f"{target}/{name}")


def _link(source: str, place: str) -> None:
    """Of thousands of files few lie in a place that is taken, so that is only looked at where it is."""
    try:
        os.link(source, place, follow_symlinks=False)
    except FileExistsError:
        _clear(Path(place))
        os.link(source, place, follow_symlinks=False)


def _make_directory(place: Path) -> None:
    """A directory as layers imply them (0755, whatever the umask), in the place of anything else."""
    if place.is_symlink() or not place.is_dir():
        _clear(place)
        place.mkdir()
        place.chmod(0o755)


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
        _make_directory(step)
        place = step
    return place / path.name


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
