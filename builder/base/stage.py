"""Stages a base: the locked packages become a tree of files, without root, apt or a maintainer script.

The tree depends on the lock, the spec and ``REVISION`` only. It holds no bytecode: whoever knows all Python files of
the image compiles them together.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from builder.base.deb import PackageFile, open_package
from builder.base.download import fetch_packages
from builder.base.lock import BaseLock, LockedPackage
from builder.base.mirror import Mirrors
from builder.base.rootfs import (
    add_accounts,
    add_certificates,
    add_package_records,
    add_python_link,
    add_skeleton,
    extend_os_release,
    merge_usr,
)
from builder.base.spec import BaseImage
from builder.canonical import content_key
from builder.host import Host
from builder.host.trees import StagedTree, TreeWriter, load_tree
from builder.oci.entry import EntryKind
from builder.oci.platform import Platform

REVISION = 1
"""Bumped by hand when the same lock and spec would give another tree."""


def base_key(image: BaseImage, lock: BaseLock, platform: Platform) -> str:
    """The key of everything that decides the staged tree."""
    image.require(platform)
    return content_key(
        {
            "revision": REVISION,
            "packages": [[each.package, each.sha256.hex] for each in lock.platforms[platform]],
            "python": image.python,
            "rules": image.rules.to_json(),
            "user": [image.user.name, image.user.uid, str(image.user.home)],
            "os_release": [list(field) for field in image.os_release],
        }
    )


def is_staged(image: BaseImage, lock: BaseLock, platform: Platform, host: Host) -> bool:
    """Whether ``stage_base`` has nothing to do."""
    return host.store.has_directory("base", base_key(image, lock, platform))


def stage_base(image: BaseImage, lock: BaseLock, platform: Platform, host: Host) -> StagedTree:
    """The tree of ``image`` for ``platform``, from the cache or made now. Raises PlatformNotOffered, PackageGone,
    ArchiveUnreachable, WrongDigest or DamagedPackage."""
    key = base_key(image, lock, platform)

    def make(directory: Path) -> None:
        mirrors = Mirrors(base=image.name, snapshot=lock.snapshot, host=host)
        write_tree(TreeWriter(directory), image, list(_opened(lock.platforms[platform], mirrors)))

    return load_tree(host.store.directory("base", key, make))


def _opened(locked: tuple[LockedPackage, ...], mirrors: Mirrors) -> list[PackageFile]:
    blobs = fetch_packages(locked, mirrors)
    store = mirrors.host.store
    return [
        open_package(b"".join(store.read_blob(blob.digest)), package.package)
        for package, blob in zip(locked, blobs, strict=True)
    ]


def write_tree(writer: TreeWriter, image: BaseImage, packages: list[PackageFile]) -> StagedTree:
    """Unpack, complete, prune and record ``packages``; pure but for the writing. The order matters: certificates are
    bundled before their sources are pruned, and the records list what is left."""
    add_skeleton(writer)
    for package in packages:
        _unpack(writer, package)
    add_accounts(writer, image.user)
    add_certificates(writer)
    extend_os_release(writer, image)
    _prune(writer, image)
    merge_usr(writer)
    add_python_link(writer, image)
    add_package_records(writer, packages)
    return writer.finish()


def _unpack(writer: TreeWriter, package: PackageFile) -> None:
    """Add the files and links; directories come with them, so that none is left empty by pruning."""
    for found in package.files():
        if found.kind is EntryKind.FILE:
            writer.add_file(found.path, found.content, 0o755 if found.mode & 0o111 else 0o644)
        elif found.kind is EntryKind.SYMLINK:
            writer.add_symlink(found.path, found.target)


def _prune(writer: TreeWriter, image: BaseImage) -> None:
    """Remove what the rules name, then the directories under /etc, /usr and /var that nothing is left in."""
    for path, entry in list(writer.entries.items()):
        if entry.kind is not EntryKind.DIRECTORY and image.rules.pruned_by(path) is not None:
            writer.remove(path)
    used = {parent for path, entry in writer.entries.items() for parent in _held_by(path, entry.kind)}
    for path, entry in list(writer.entries.items()):
        empty = entry.kind is EntryKind.DIRECTORY and path not in used
        if empty and len(path.parts) > 2 and path != PurePosixPath("/var/tmp"):  # noqa: S108
            writer.remove(path)


def _held_by(path: PurePosixPath, kind: EntryKind) -> tuple[PurePosixPath, ...]:
    return () if kind is EntryKind.DIRECTORY else tuple(path.parents)
