"""What a worker sees of the file system: the system's libraries, the places it was given, one that it may write.

Everything else is not there at all: no home, no other /tmp, no secrets of /etc. The root is an empty tmpfs into which
those places are mounted under their own names, read-only but for one.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from builder.isolation.kernel import (
    BIND,
    NEW_MOUNT,
    NO_DEVICES,
    NO_EXEC,
    NO_SETUID,
    PRIVATE,
    READ_ONLY,
    RECURSIVE,
    REMOUNT,
    Refused,
    change_root,
    make_read_only,
    mount,
    step,
    unshare,
)

SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives", "/etc/localtime"),
)
"""Programs and libraries of the machine, which every user of it can read."""

_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
_PLAIN = NO_SETUID | NO_DEVICES | NO_EXEC
_TEMPORARY_BYTES = 1 << 30


def narrow(readable: Sequence[str], writable: str) -> None:
    """Make this process's root the narrow one. The standard library may be out of reach afterwards."""
    unshare("a mount namespace", NEW_MOUNT)
    mount("", "/", "", RECURSIVE | PRIVATE)
    # Hides /tmp from here on, so what is below it is held by a descriptor first.
    held = {place: _hold(place) for place in (*readable, writable) if os.path.exists(place)}  # noqa: PTH110
    root = "/tmp"  # noqa: S108 - a directory that every machine has, of which nothing is used
    mount("tmpfs", root, "tmpfs", NO_SETUID | NO_DEVICES, "mode=755,size=4194304")
    for place in SYSTEM:
        _show_system(root, place)
    _fill(root)
    for place in sorted(held, key=lambda place: (len(Path(place).parts), place == writable)):
        _show(root, place, held[place])
        if place != writable:
            make_read_only(root + place)
    for descriptor in held.values():
        os.close(descriptor)
    mount("", root, "", REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_DEVICES)
    change_root(root)


def _hold(place: str) -> int:
    with step(f"open {place}"):
        return os.open(place, os.O_PATH | os.O_CLOEXEC)


def _show_system(root: str, place: str) -> None:
    source = Path(place)
    if source.is_symlink():  # /lib is a link to usr/lib on most systems
        with step(f"make {place}"):
            Path(root + place).symlink_to(source.readlink())
    elif source.exists():
        descriptor = _hold(place)
        _show(root, place, descriptor)
        make_read_only(root + place)
        os.close(descriptor)


def _show(root: str, place: str, descriptor: int) -> None:
    """Mount what ``descriptor`` stands for at ``place`` below ``root``."""
    target = Path(root + place)
    source = f"/proc/self/fd/{descriptor}"
    with step(f"make {place} in the sandbox"):
        if Path(source).is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
    mount(source, str(target), "", BIND | RECURSIVE)


def _fill(root: str) -> None:
    """proc and sys, which can only be read, devices that hold nothing, an empty /tmp, and who one is."""
    with step("make the sandbox's directories"):
        for name in ("proc", "sys", "dev", "tmp", "etc"):
            Path(root, name).mkdir(exist_ok=True)
        user = f"mbuild:x:{os.getuid()}:{os.getgid()}::/nonexistent:/usr/sbin/nologin\n"
        Path(root, "etc/passwd").write_text(user)
        Path(root, "etc/group").write_text(f"mbuild:x:{os.getgid()}:\n")
        Path(root, "etc/hosts").write_text("127.0.0.1 localhost\n")
    mount("proc", f"{root}/proc", "proc", _PLAIN)
    make_read_only(f"{root}/proc")  # the owner of /proc/sys may write it, and root is its owner in any namespace
    with contextlib.suppress(Refused):  # some kernels keep it for real root; only the processors are looked up in it
        mount("sysfs", f"{root}/sys", "sysfs", _PLAIN)
        make_read_only(f"{root}/sys")
    for device in _DEVICES:
        with step(f"make /dev/{device}"):
            Path(root, "dev", device).touch()
        mount(f"/dev/{device}", f"{root}/dev/{device}", "", BIND)
    for name, target in _LINKS:
        Path(root, "dev", name).symlink_to(target)
    for name in ("dev/shm", "tmp"):
        Path(root, name).mkdir(exist_ok=True)
        mount("tmpfs", f"{root}/{name}", "tmpfs", _PLAIN, f"mode=1777,size={_TEMPORARY_BYTES}")
