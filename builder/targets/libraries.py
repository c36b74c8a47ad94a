"""The GPU libraries of an image: the chosen parts of a base, out of its wheels, and what goes with them.

The libraries lie below site-packages as their wheels lay them out, since they find each other from there; of each part
there is one tree, and nothing in it depends on the other parts. What does is a tree of its own, ``LOADER``: where the
loader looks, what the wheels say of themselves, and ``gpu.json``, by which a running image knows its GPU side.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.canonical import content_key, readable_json
from builder.elf import loader_cache
from builder.errors import SpecError
from builder.host import Host
from builder.host.trees import StagedTree, TreeWriter, load_tree
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.platform import Platform
from builder.plan.gpu import GpuLibraries, LibraryPart
from builder.plan.prune import PruneRules
from builder.plan.wheel import LockedWheel
from builder.targets.wheel_stage import add_member, dist_info, in_wheels, members, write_record

REVISION = 2
"""Bumped by hand when the same parts would give other trees."""

_TAKEN_FROM = 1 << 20
"""Bytes from which on a library stays in its wheel and becomes a part of its layer as it lies there."""

LOADER = "loader"
"""The name of the tree that lies above all parts."""

FACTS = PurePosixPath("/opt/mbuild/gpu.json")
CONFIGURED = PurePosixPath("/etc/ld.so.conf.d/00-mbuild-gpu.conf")
_CONFIGURATION = PurePosixPath("/etc/ld.so.conf")


class PartNotInWheel(SpecError):
    code = "part-not-in-wheel"
    message = "{filename} has no {files}, which the part {part} of the base {base} is made of"
    hint = "look into the wheel and mend gpu.parts.{part}.files in the base's image.yaml"


class FileInNoPart(SpecError):
    code = "file-in-no-part"
    message = "of the wheels of the base {base}, no part has {files}, and nothing drops them"
    hint = "add them to a part (gpu.parts) or, with the reason, to gpu.drop in the base's image.yaml"


def require_placed(base: str, gpu: GpuLibraries, wheels: Sequence[LockedWheel], host: Host) -> None:
    """Raises FileInNoPart where a wheel has a file that somebody should have thought of. The wheels must be in the
    store."""
    dropped = PruneRules(prune=gpu.drop, keep={})
    found: list[str] = []
    for wheel in wheels:
        with zipfile.ZipFile(host.store.blob_path(wheel.digest)) as archive:
            folder = dist_info(wheel, archive)
            files = [member.path for member in members(wheel, archive, folder) if member.path.parts[0] != folder]
        parts = [part for part in gpu.parts if part.wheel == wheel.name]
        found += [
            str(path)
            for path in files
            if dropped.pruned_by(path) is None and not any(part.holds(path) for part in parts)
        ]
    if found:
        raise FileInNoPart(base=base, files=", ".join(found))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChosenLibraries:
    """What of a base an image gets: ``reasons`` are the parts by name, each with the reason why, ``wheels`` those that
    the base has locked, ``present`` the libraries that are there already, by their SONAMEs. ``configures``: nobody else
    says where ldconfig shall look."""

    base: str
    gpu: GpuLibraries
    wheels: tuple[LockedWheel, ...]
    reasons: Mapping[str, str]
    platform: Platform
    present: tuple[tuple[str, PurePosixPath], ...] = ()
    configures: bool = True

    @property
    def parts(self) -> tuple[LibraryPart, ...]:
        """Those that must be added, in the order of their layers."""
        known = {soname for soname, _ in self.present}
        needed = (part for part in self.gpu.parts if part.name in self.reasons)
        return tuple(part for part in needed if not {PurePosixPath(file).name for file in part.files} <= known)

    @property
    def used(self) -> tuple[LockedWheel, ...]:
        """The wheels that the parts are from."""
        names = {part.wheel for part in self.parts}
        return tuple(wheel for wheel in self.wheels if wheel.name in names)


def stage_parts(chosen: ChosenLibraries, prefix: PurePosixPath, host: Host) -> dict[str, StagedTree]:
    """A tree for each part, and ``LOADER`` last.

    The wheels must be in the store (``fetch_wheels``). Raises PartNotInWheel or UnsafeWheel.
    """
    wheels = {wheel.name: wheel for wheel in chosen.used}
    found = {name: in_wheels((wheel,), prefix, _TAKEN_FROM, host) for name, wheel in wheels.items()}
    trees = {
        part.name: _only_files(
            load_tree(_stage_part(chosen.base, part, wheels[part.wheel], prefix, host), found[part.wheel])
        )
        for part in chosen.parts
    }
    return {**trees, LOADER: _stage_loader(chosen, trees, prefix, host)}


def _stage_part(base: str, part: LibraryPart, wheel: LockedWheel, prefix: PurePosixPath, host: Host) -> Path:
    def make(directory: Path) -> None:
        writer = TreeWriter(directory)
        with zipfile.ZipFile(host.store.blob_path(wheel.digest)) as archive:
            for member in members(wheel, archive, dist_info(wheel, archive)):
                if part.holds(member.path):
                    add_member(archive, member, prefix, writer, _TAKEN_FROM)
        for path, leads_to in part.links:
            writer.add_symlink(prefix / path, leads_to)
        if not any(entry.kind is EntryKind.FILE for entry in writer.entries.values()):
            raise PartNotInWheel(filename=wheel.filename, files=", ".join(part.files), part=part.name, base=base)
        writer.finish()

    decides: dict[str, object] = {
        "wheel": wheel.sha256,
        "files": sorted(part.files),
        "prefix": str(prefix),
        "revision": REVISION,
    }
    if part.links:
        decides["links"] = dict(part.links)
    return host.store.directory("libraries", content_key(decides), make)


def _only_files(tree: StagedTree) -> StagedTree:
    """Directories are made by ``LOADER``, so that a part's layer holds the libraries and nothing else."""
    kept = tuple(entry for entry in tree.entries if entry.kind is not EntryKind.DIRECTORY)
    return StagedTree(entries=kept, files=tree.files)


def _stage_loader(
    chosen: ChosenLibraries, parts: Mapping[str, StagedTree], prefix: PurePosixPath, host: Host
) -> StagedTree:
    files = [entry for tree in parts.values() for entry in tree.entries]
    facts = chosen.gpu.described(chosen.base, chosen.reasons)

    def make(directory: Path) -> None:
        writer = TreeWriter(directory)
        for place in sorted({entry.path.parent for entry in files}):
            writer.add_directory(place)
        for wheel in chosen.used:
            _add_notices(wheel, files, prefix, writer, host)
        _add_lookup(chosen, files, writer)
        writer.add_file(FACTS, readable_json(facts))
        writer.finish()

    decides = {
        "facts": facts,
        "present": [[soname, str(path)] for soname, path in chosen.present],
        "configures": chosen.configures,
        "platform": str(chosen.platform),
        "wheels": [wheel.sha256 for wheel in chosen.used],
        "files": [[str(entry.path), str(entry.digest)] for entry in files],
        "revision": REVISION,
    }
    return load_tree(host.store.directory("libraries", content_key(decides), make))


def _add_notices(
    wheel: LockedWheel, files: Sequence[FileEntry], prefix: PurePosixPath, writer: TreeWriter, host: Host
) -> None:
    """Licences and METADATA of a wheel, and a RECORD of those of its files that are in the image."""
    with zipfile.ZipFile(host.store.blob_path(wheel.digest)) as archive:
        folder = dist_info(wheel, archive)
        own = {member.path: member for member in members(wheel, archive, folder)}
        for path, member in own.items():
            if path.parts[0] == folder:
                add_member(archive, member, prefix, writer, _TAKEN_FROM)
    packed = {entry.path.relative_to(prefix): entry for entry in files}
    notices = {path: writer.entries[prefix / path] for path in own if path.parts[0] == folder}
    write_record(folder, {**{path: packed[path] for path in own if path in packed}, **notices}, prefix, writer)


def _add_lookup(chosen: ChosenLibraries, files: Sequence[FileEntry], writer: TreeWriter) -> None:
    """Where the loader finds the libraries, whoever asks for them: no LD_LIBRARY_PATH, which programs pass on. The
    configuration says the same to the ldconfig that a GPU container runtime runs at each start."""
    if not files:
        return
    ours = [path for _, path in chosen.present if path.is_relative_to(FACTS.parent)]
    places = sorted({str(path.parent) for path in (*(entry.path for entry in files), *ours)})
    writer.add_file(CONFIGURED, "".join(f"{place}\n" for place in places).encode())
    if chosen.configures:
        writer.add_file(_CONFIGURATION, b"include /etc/ld.so.conf.d/*.conf\n")
    # NVIDIA's wheels name each library by its SONAME, which `mbuild base lock` proves; where one does not, a link does.
    own = {entry.path.name: entry.path for entry in files if ".so" in entry.path.suffixes}
    known = {**own, **{soname: path for soname, path in chosen.present if soname not in own}}
    cache = loader_cache.loader_cache(known.items(), chosen.platform.architecture)
    writer.add_file(loader_cache.PLACE, cache)
