"""``mbuild base lock``: choose what a base is made of anew, and say what changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from builder.base.catalogue import Change, changes, library_changes
from builder.base.lock import (
    LibraryLock,
    not_brought,
    read_lock,
    require_writable,
    write_lock,
    written_libraries,
    written_lock,
)
from builder.base.locking import lock_base
from builder.base.spec import BaseImage
from builder.base.stage import stage_base
from builder.host import Host
from builder.host.uv import Unsatisfiable
from builder.oci.platform import Platform
from builder.pipeline.base import glibc_of
from builder.pipeline.library_proof import LockedLibraries, prove_libraries
from builder.targets.libraries import require_placed
from builder.targets.wheels import NoWheelForPlatform, fetch_wheels, resolve_wheels


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedAnew:
    """``reasons``: for each wheel of a base with GPU libraries (``nvidia-cublas 13.1.2.11``), what it is there for."""

    changes: tuple[Change, ...]
    reasons: Mapping[str, str] = field(default_factory=dict)


def lock_anew(image: BaseImage, host: Host) -> LockedAnew:
    """Write image.lock. Of a base with a parent the wheels are chosen; its packages are the parent's.

    Raises BaseLockNotWritable, FileInNoPart, LibrariesDoNotClose, WheelsNotBrought, and what ``lock_base`` and
    ``resolve_wheels`` raise; then nothing is written.
    """
    require_writable(image)
    if image.parent is None:
        before, after = written_lock(image, image.lock_path), lock_base(image, host)
        write_lock(after, image.lock_path)
        return LockedAnew(changes=changes(before, after))
    was, (now, reasons) = written_libraries(image, image.lock_path), _libraries(image, image.parent, host)
    write_lock(now, image.lock_path)
    return LockedAnew(changes=library_changes(was, now), reasons=reasons)


def _libraries(image: BaseImage, parent: BaseImage, host: Host) -> tuple[LibraryLock, dict[str, str]]:
    below, gpu = read_lock(parent), image.gpu
    assert gpu is not None, "a base has a parent for the libraries beside it"
    chosen, reasons = {}, dict[str, str]()
    for platform in image.platforms:
        glibc = glibc_of(below, platform)
        _require_brought(image, below.python, platform, glibc, host)
        wheels, runtime = (
            resolve_wheels(pins, below.python, platform, glibc, host) for pins in (gpu.wheels, (gpu.runtime,))
        )
        fetch_wheels((*wheels, *runtime), below.python, host)
        require_placed(image.name, gpu, wheels, host)
        root = stage_base(parent, below, platform, host)
        reasons |= prove_libraries(
            LockedLibraries(base=image.name, gpu=gpu, wheels=wheels, runtime=runtime, root=root, platform=platform),
            host,
        )
        chosen[platform] = wheels
    return LibraryLock(name=image.name, parent=parent.name, platforms=chosen), reasons


def _require_brought(image: BaseImage, python: str, platform: Platform, glibc: tuple[int, int], host: Host) -> None:
    """Raises WheelsNotBrought, before anything is downloaded."""
    try:
        if image.brought:
            resolve_wheels(tuple(image.brought), python, platform, glibc, host)
    except (Unsatisfiable, NoWheelForPlatform) as error:
        raise not_brought(image, "of which your index and find-links have no wheel") from error
