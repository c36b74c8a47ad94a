"""The system calls that the standard library lacks, and what a refusal looks like."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

NEW_MOUNT, NEW_UTS, NEW_IPC, NEW_USER, NEW_PID, NEW_NET = (1 << bit for bit in (17, 26, 27, 28, 29, 30))
READ_ONLY, NO_SETUID, NO_DEVICES, NO_EXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = (
    1 << bit for bit in (0, 1, 2, 3, 5, 12, 14, 18)
)
_DETACH = 2
_DEATH_SIGNAL, _DROP_BOUNDING, _NO_NEW_PRIVILEGES, _AMBIENT, _CLEAR_ALL = 1, 24, 38, 47, 4
_CAPABILITIES_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel refused ``step`` (words for a person) with the errno ``number``."""

    event = "refused"

    def __init__(self, step: str, number: int) -> None:
        super().__init__(step, number)
        self.step, self.number = step, number

    def to_json(self) -> dict[str, object]:
        return {"event": self.event, "step": self.step, "errno": self.number, "reason": os.strerror(self.number)}


class Unrunnable(Refused):
    """The same, where it is the image that is wrong and not this machine."""

    event = "unrunnable"


def reraise(message: dict[str, Any]) -> NoReturn:
    """Raise what another process wrote with ``to_json``."""
    kinds = {kind.event: kind for kind in (Refused, Unrunnable)}
    raise kinds[message["event"]](message["step"], message["errno"])


@contextlib.contextmanager
def step(name: str, kind: type[Refused] = Refused) -> Iterator[None]:
    """Name what is being done, for the case that the kernel refuses it."""
    try:
        yield
    except OSError as error:
        raise kind(name, error.errno or 0) from error


def call(name: str, function: str, *arguments: object) -> None:
    """Call a libc function; raises Refused(name) where it does not return 0."""
    if getattr(_libc, function)(*arguments) != 0:
        raise Refused(name, ctypes.get_errno())


def unshare(name: str, namespaces: int) -> None:
    call(f"make {name}", "unshare", namespaces)


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """mount(2); an empty text is NULL."""
    arguments = [text.encode() or None for text in (source, target, kind)]
    call(f"mount {kind or source} at {target}", "mount", *arguments, ctypes.c_ulong(flags), options.encode() or None)


def make_read_only(place: str) -> None:
    """Nothing below ``place``, a mount, can be written, become another user or be a device, mounts inside it included
    (mount_setattr(2), since Linux 5.12, one number on every architecture)."""
    wanted = struct.pack("QQQQ", 1 | 2 | 4, 0, 0, 0)  # MOUNT_ATTR_RDONLY, _NOSUID, _NODEV
    path = ctypes.c_char_p(place.encode())
    call(f"make {place} read-only", "syscall", ctypes.c_long(442), -100, path, 0x8000, wanted, ctypes.c_size_t(32))


def change_root(root: str) -> None:
    """Make ``root`` (a mount) the root of this mount namespace and let go of the old one (pivot_root(2), NOTES)."""
    with step("enter the image"):
        os.chdir(root)
    call("change the root", "pivot_root", b".", b".")
    call("leave the old root", "umount2", b".", _DETACH)
    os.chdir("/")


def drop_bounding_set(last: int) -> None:
    for capability in range(last + 1):
        call("drop capabilities", "prctl", _DROP_BOUNDING, capability, 0, 0, 0)


def drop_capabilities() -> None:
    """No capability in any set of this process, and no way to gain one by exec."""
    call("drop capabilities", "prctl", _AMBIENT, _CLEAR_ALL, 0, 0, 0)
    call("drop capabilities", "capset", struct.pack("Ii", _CAPABILITIES_V3, 0), bytes(24))
    call("forbid new privileges", "prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    call("tie the processes together", "prctl", _DEATH_SIGNAL, int(by), 0, 0, 0)


def tell(channel: socket.socket, message: dict[str, object]) -> None:
    channel.send(json.dumps(message).encode())


def hear(channel: socket.socket) -> dict[str, Any] | None:
    """The next message, or None when the other side is gone."""
    content = channel.recv(1 << 16)
    return json.loads(content) if content else None


def obey(channel: socket.socket) -> None:
    """Wait for the keeper's word; without a keeper there is nothing left to do."""
    if hear(channel) is None:
        os._exit(1)


def guarded(refusals: int, work: Callable[[], None]) -> NoReturn:
    """Run a forked child's work to its end; a refusal goes to the keeper through the pipe ``refusals``."""
    code = 1
    try:
        work()
        code = 0
    except Refused as refused:
        os.write(refusals, json.dumps(refused.to_json()).encode())
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def map_users(pid: int, uid: int, gid: int) -> None:
    """Root maps each id it has to itself, so that the owners inside are those of the image. Anyone else may map only
    himself, and is the image's user inside (user_namespaces(7), "Defining user and group ID mappings")."""
    place = Path(f"/proc/{pid}")
    if os.geteuid() == 0:
        with contextlib.suppress(PermissionError):
            for name in ("gid_map", "uid_map"):
                ranges = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
                (place / name).write_text("".join(f"{inside} {inside} {count}\n" for inside, _, count in ranges))
            return
    with step("map the image's user to this one"):
        (place / "setgroups").write_text("deny")
        (place / "uid_map").write_text(f"{uid} {os.geteuid()} 1")
        (place / "gid_map").write_text(f"{gid} {os.getegid()} 1")
