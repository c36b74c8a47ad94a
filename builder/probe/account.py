"""Who an image's process is: numbers and a home directory, as engines find them (image-spec config.md, ``User``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """``home`` is / for a user that the image does not list."""

    uid: int
    gid: int
    home: str = "/"


def find_account(user: str, root: Path) -> Account:
    """The account of ``User`` (``name-or-uid[:gid]``, empty: root) in the unpacked image at ``root``; a group without a
    number is that of /etc/passwd, else 0."""
    name, _, group = user.partition(":")
    name = name or "0"
    line = next((line for line in _accounts(root) if name in (line[0], line[2])), None)
    if line is None:
        return Account(uid=int(name) if name.isdecimal() else 0, gid=int(group) if group.isdecimal() else 0)
    return Account(uid=int(line[2]), gid=int(group) if group.isdecimal() else int(line[3]), home=line[5] or "/")


def _accounts(root: Path) -> list[list[str]]:
    """The lines of /etc/passwd (passwd(5)), unless a link leads to it, maybe out of the image."""
    path = root / "etc/passwd"
    if (root / "etc").is_symlink() or path.is_symlink() or not path.is_file():
        return []
    lines = [line.split(":") for line in path.read_text(errors="replace").splitlines()]
    return [line for line in lines if len(line) == 7 and line[2].isdecimal() and line[3].isdecimal()]
