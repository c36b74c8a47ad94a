"""What takes the room in an image: layers, in them the packages and models, in those the large libraries; and why each
of them is there, as far as the image itself tells."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from builder.elf.cuda import PARTS, stem
from builder.oci.descriptor import Descriptor
from builder.oci.entry import EntryKind
from builder.probe.contents import ImageContents, ImageFile
from builder.probe.gpu import FACTS
from builder.probe.packages import Package, packages_of

LARGE_LIBRARY = 1_000_000
"""Bytes from which a library is told by itself."""

_MOST_NAMES = 3
_SERVER, _MODELS, _LISTS = (PurePosixPath(path) for path in ("/opt/mbuild/server", "/models", "/var/lib/dpkg"))
_EXTENSION = (".cpython-", ".abi3.")
_TAG = re.compile(r"\.(cpython-[^.]+|abi3)(?=\.so$)")
"""What Python puts into the names of extension modules."""

Owner = tuple[str, str, str]
"""Kind (deb, wheel, model, server, other), name, version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """``why`` is a phrase such as ``needed by libfoo.so.1``."""

    path: PurePosixPath
    size: int
    why: str

    def to_json(self) -> dict[str, object]:
        return {"path": str(self.path), "size": self.size, "why": self.why}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What one package, model or the server put into a layer: ``size`` bytes as they lie on a disk."""

    kind: str
    name: str
    version: str
    files: int
    size: int
    why: str
    libraries: tuple[Library, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "name": self.name,
            "version": self.version or None,
            "files": self.files,
            "size": self.size,
            "why": self.why,
            "libraries": [library.to_json() for library in self.libraries],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerParts:
    """``parts`` with the largest first; the descriptor's size is what travels, ``size`` what lies on a disk."""

    descriptor: Descriptor
    role: str
    parts: tuple[Part, ...]

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    def to_json(self) -> dict[str, object]:
        return {
            "role": self.role,
            "digest": str(self.descriptor.digest),
            "size": self.descriptor.size,
            "unpacked_size": self.size,
            "parts": [part.to_json() for part in self.parts],
        }


def image_parts(contents: ImageContents, layers: Sequence[Descriptor], roles: Sequence[str]) -> tuple[LayerParts, ...]:
    """The parts of each layer; a file that a higher layer hides is counted nowhere."""
    packages = packages_of(contents)
    reasons = _library_reasons(contents)
    owners = {path: (one.kind, one.name, one.version) for one in packages for path in one.files}
    needed = _needed_packages(packages)
    wanting = _wanting_files(contents)
    found: dict[int, dict[Owner, list[ImageFile]]] = defaultdict(lambda: defaultdict(list))
    for path, file in contents.files.items():
        if file.entry.kind is EntryKind.FILE:
            found[file.layer][_owner(path, owners)].append(file)
    return tuple(
        LayerParts(
            descriptor=descriptor,
            role=role,
            parts=tuple(
                sorted(
                    (_part(owner, files, needed, wanting, reasons) for owner, files in found[number].items()),
                    key=lambda part: (-part.size, part.name),
                )
            ),
        )
        for number, (descriptor, role) in enumerate(zip(layers, roles, strict=True))
    )


def _owner(path: PurePosixPath, owners: Mapping[PurePosixPath, Owner]) -> Owner:
    if owner := owners.get(path):
        return owner
    if path.suffix == ".pyc" and (owner := owners.get(path.parent.parent / f"{path.name.partition('.')[0]}.py")):
        return owner
    if path.is_relative_to(_MODELS) and len(path.parts) > len(_MODELS.parts) + 1:
        return "model", path.parts[len(_MODELS.parts)], ""
    if path.is_relative_to(_SERVER):
        return "server", "the server", ""
    if path.is_relative_to(_LISTS):
        return "other", "lists of packages", ""
    top = PurePosixPath(*path.parts[:3]) if len(path.parts) > 3 else path.parent
    return "other", f"other files in {top}", ""


def _part(
    owner: Owner,
    files: Sequence[ImageFile],
    needed: Mapping[tuple[str, str], list[str]],
    wanting: Mapping[PurePosixPath, list[str]],
    reasons: Mapping[str, str],
) -> Part:
    kind, name, version = owner
    libraries = [
        Library(path=file.entry.path, size=file.entry.size, why=_why_library(file, wanting))
        for file in files
        if file.entry.elf and file.entry.size >= LARGE_LIBRARY
    ]
    return Part(
        kind=kind,
        name=name,
        version=version,
        files=len(files),
        size=sum(file.entry.size for file in files),
        why=_why_files(files, reasons) or _why_part(kind, name, needed.get((kind, name), [])),
        libraries=tuple(sorted(libraries, key=lambda one: (-one.size, one.path))),
    )


def _library_reasons(contents: ImageContents) -> dict[str, str]:
    """Of an image for GPUs, why it has NVIDIA's libraries, by their names up to ``.so``, as it says itself; nothing for
    others, and for one whose description cannot be read, which is for the probe to tell."""
    try:
        parts = json.loads(contents.kept.get(FACTS, b"{}"))["parts"]
        return {name: f"{part}: {why}" for part, why in parts.items() for name in PARTS.get(part, ())}
    except (ValueError, TypeError, LookupError, AttributeError):
        return {}


def _why_files(files: Sequence[ImageFile], reasons: Mapping[str, str]) -> str:
    """What the image says of the parts that these files are of."""
    said = (reasons.get(stem(file.entry.path)) for file in files)
    return "; ".join(dict.fromkeys(filter(None, said)))


def _why_part(kind: str, name: str, needed_by: list[str]) -> str:
    if kind == "model":
        return "graph, weights, description and golden cases"
    if kind == "server":
        return "answers the requests"
    if kind == "other":
        return "says what is inside, to scanners" if name == "lists of packages" else "in no package's list"
    if needed_by:
        return f"needed by {_names(needed_by)}"
    return "asked for by the base image" if kind == "deb" else "asked for by the target or the model"


def _why_library(file: ImageFile, wanting: Mapping[PurePosixPath, list[str]]) -> str:
    path, elf = file.entry.path, file.entry.elf
    if names := wanting.get(path):
        return f"needed by {_names(names)}"
    if any(mark in path.name for mark in _EXTENSION) or "lib-dynload" in path.parts:
        return "imported by Python"
    if elf and elf.interpreter and file.entry.mode & 0o111:
        return "a program"
    return "opened by name at run time"


def _needed_packages(packages: Sequence[Package]) -> dict[tuple[str, str], list[str]]:
    """By kind and name, who in the image needs it."""
    needed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in packages:
        for name in one.needs:
            needed[one.kind, name].append(one.name)
    return {key: sorted(names) for key, names in needed.items()}


def _wanting_files(contents: ImageContents) -> dict[PurePosixPath, list[str]]:
    """By library, the names of the files that ask the loader for it (DT_NEEDED)."""
    called: dict[str, set[PurePosixPath]] = defaultdict(set)
    for path in _libraries(contents):
        if found := contents.resolve(path):
            called[path.name].add(found.path)
    wanting: dict[PurePosixPath, set[str]] = defaultdict(set)
    for path, file in contents.files.items():
        for name in file.entry.elf.needed if file.entry.elf else ():
            for library in called.get(PurePosixPath(name).name, ()):
                wanting[library].add(path.name)
    return {path: sorted(names) for path, names in wanting.items()}


def _libraries(contents: ImageContents) -> Iterator[PurePosixPath]:
    return (
        path
        for path, file in contents.files.items()
        if ".so" in path.name and file.entry.kind is not EntryKind.DIRECTORY
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(short_name, names[:_MOST_NAMES])) + more


def short_name(name: str) -> str:
    """The name of an extension module without Python's tags."""
    return _TAG.sub("", name)
