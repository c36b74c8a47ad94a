"""The container: from a forked process to the image's own, with the view of the world that production gives it."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
from pathlib import Path
from typing import Any, NoReturn

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
    Unrunnable,
    change_root,
    die_with_parent,
    drop_bounding_set,
    drop_capabilities,
    make_read_only,
    mount,
    obey,
    step,
    unshare,
)

_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"))
_SHARED_MEMORY_BYTES = 64 << 20
_PLAIN = NO_SETUID | NO_DEVICES | NO_EXEC


def contain(request: dict[str, Any], root: str, channel: socket.socket) -> NoReturn:
    """Build the container's world around this process, then become the image's command. Nothing may be imported from
    ``change_root`` on: the standard library is out of reach."""
    obey(channel)  # until the keeper has put this process below the memory limit
    last_capability = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    if os.statvfs(root).f_flag & os.ST_NOEXEC:
        raise Refused(f"run programs from {root}, whose file system is mounted noexec", errno.EACCES)
    unshare("a mount namespace", NEW_MOUNT)
    mount("", "/", "", RECURSIVE | PRIVATE)
    mount(root, root, "", BIND)
    emulator = _hold(request["emulator"])
    _mount_file_systems(root, request)
    mount("", root, "", REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_DEVICES)
    change_root(root)
    _limit(request)
    drop_bounding_set(last_capability)
    _become_user(request["uid"], request["gid"])
    drop_capabilities()
    die_with_parent()  # the change of user had cleared it
    _run(request, emulator)


def _hold(emulator: list[str]) -> int | None:
    """The emulator's program as a descriptor, since its path leads nowhere inside."""
    if not emulator:
        return None
    with step(f"open {emulator[0]}"):
        return os.open(emulator[0], os.O_RDONLY | os.O_CLOEXEC)


def _mount_file_systems(root: str, request: dict[str, Any]) -> None:
    for name in ("proc", "sys", "dev", "tmp"):
        with step(f"make /{name} in the image", Unrunnable):
            if Path(root, name).is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, "it is a symbolic link")
            Path(root, name).mkdir(exist_ok=True)
    mount("proc", f"{root}/proc", "proc", _PLAIN)
    if request["cpuinfo"]:
        mount(request["cpuinfo"], f"{root}/proc/cpuinfo", "", BIND)
        make_read_only(f"{root}/proc/cpuinfo")
    with contextlib.suppress(Refused):  # some kernels keep it for real root; only the processors are looked up in it
        mount("sysfs", f"{root}/sys", "sysfs", _PLAIN | READ_ONLY)
    _mount_scratch(f"{root}/tmp", request, request["tmp_bytes"])  # noqa: S108 - of the image
    _mount_devices(f"{root}/dev", request)
    for source, place in request["libraries"]:
        with step(f"make {place} in the image", Unrunnable):
            Path(root + place).parent.mkdir(parents=True, exist_ok=True)
            Path(root + place).touch()
        mount(source, root + place, "", BIND)
    for source, place in request["mounts"]:
        _show(source, root + place)


def _show(source: str, target: str) -> None:
    """A file or a directory of the machine, to be read only."""
    with step(f"make {target} in the image", Unrunnable):
        if Path(source).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).touch()
    mount(source, target, "", BIND | RECURSIVE)
    make_read_only(target)


def _mount_devices(place: str, request: dict[str, Any]) -> None:
    mount("tmpfs", place, "tmpfs", NO_SETUID | NO_EXEC, "mode=755,size=65536")
    for device in _DEVICES:
        with step(f"make /dev/{device}"):
            Path(place, device).touch()
        mount(f"/dev/{device}", f"{place}/{device}", "", BIND)
    for device in request["devices"]:
        own = Path(place, Path(device).relative_to("/dev"))
        with step(f"make {device}"):
            own.parent.mkdir(exist_ok=True)
            own.touch()
        mount(device, str(own), "", BIND)
    for name, target in _LINKS:
        Path(place, name).symlink_to(target)
    Path(place, "shm").mkdir()
    _mount_scratch(f"{place}/shm", request, _SHARED_MEMORY_BYTES)
    mount("", place, "", REMOUNT | BIND | READ_ONLY | NO_SETUID | NO_EXEC)


def _mount_scratch(place: str, request: dict[str, Any], size: int) -> None:
    """A tmpfs of ``size`` bytes that the image's user may write."""
    mount("tmpfs", place, "tmpfs", _PLAIN, f"mode=1777,size={size},uid={request['uid']},gid={request['gid']}")


def _limit(request: dict[str, Any]) -> None:
    """No core dumps; a bound on processes where the kernel counts them for each user namespace (since 5.14); and where
    there is no cgroup, a bound on private memory (best effort: getrlimit(2))."""
    bounds = {resource.RLIMIT_CORE: 0}
    if tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (5, 14):
        bounds[resource.RLIMIT_NPROC] = request["pids"]
    if request["memory"] == "rlimit":
        bounds[resource.RLIMIT_DATA] = request["memory_bytes"]
    if request["processors"]:
        with step("bind it to processors"):
            os.sched_setaffinity(0, request["processors"])
    with step("set resource limits"):
        for kind, bound in bounds.items():
            _, most = resource.getrlimit(kind)
            bound = bound if most == resource.RLIM_INFINITY else min(bound, most)
            resource.setrlimit(kind, (bound, bound))


def _become_user(uid: int, gid: int) -> None:
    with step(f"become the user {uid}:{gid}"):
        if (os.getuid(), os.getgid()) != (uid, gid):
            os.setgroups([])
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)


def _run(request: dict[str, Any], emulator: int | None) -> NoReturn:
    argv, environ = request["argv"], request["env"]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    with step(f"enter the working directory {request['workdir']}", Unrunnable):
        os.chdir(request["workdir"])
    for program in _candidates(argv[0], environ.get("PATH", "")):
        with step(f"run {argv[0]}", Unrunnable), contextlib.suppress(FileNotFoundError):
            if emulator is None:
                os.execve(program, argv, environ)  # noqa: S606 - the image's own command
            Path(program).stat()  # the emulator would only end with a status of its own
            words = [*request["emulator"], "-0", argv[0], program, *argv[1:]]
            os.execve(emulator, words, environ)  # noqa: S606 - the same, read by the emulator
    raise Unrunnable(f"run {argv[0]}", errno.ENOENT)


def _candidates(program: str, search: str) -> list[str]:
    return [program] if "/" in program else [f"{place}/{program}" for place in search.split(":") if place]
