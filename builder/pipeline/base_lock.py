"""``mbuild base lock``: choose what a base is made of anew, and say what changed."""

from __future__ import annotations

from builder.base.catalogue import Change, changes, library_changes
from builder.base.lock import LibraryLock, read_lock, write_lock, written_libraries, written_lock
from builder.base.locking import lock_base
from builder.base.spec import BaseImage
from builder.host import Host
from builder.pipeline.base import glibc_of
from builder.targets.libraries import require_placed
from builder.targets.wheels import fetch_wheels, resolve_wheels


def lock_anew(image: BaseImage, host: Host) -> tuple[Change, ...]:
    """Write image.lock. Of a base with a parent the wheels are chosen; its packages are the parent's.

    Raises FileInNoPart, and what ``lock_base`` and ``resolve_wheels`` raise; then nothing is written.
    """
    if image.parent is None:
        before, after = written_lock(image, image.lock_path), lock_base(image, host)
        write_lock(after, image.lock_path)
        return changes(before, after)
    was, now = written_libraries(image, image.lock_path), _libraries(image, image.parent, host)
    write_lock(now, image.lock_path)
    return library_changes(was, now)


def _libraries(image: BaseImage, parent: BaseImage, host: Host) -> LibraryLock:
    below, gpu = read_lock(parent), image.gpu
    assert gpu is not None, "a base has a parent for the libraries beside it"
    chosen = {}
    for platform in image.platforms:
        wheels = resolve_wheels(gpu.wheels, below.python, platform, glibc_of(below, platform), host)
        fetch_wheels(wheels, below.python, host)
        require_placed(image.name, gpu, wheels, host)
        chosen[platform] = wheels
    return LibraryLock(name=image.name, parent=parent.name, platforms=chosen)
