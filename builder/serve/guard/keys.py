"""API keys: who sends one of them may ask. ``Authorization: Bearer KEY`` (RFC 6750) and ``X-API-Key: KEY``.

A key given is compared with every key, by SHA-256 and in constant time, so that the time of an answer tells nothing.
Keys are never logged; the names that a file gives them are.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from ..environment import SettingError, secret_text
from .watched import Watched

KEY, FILE = "MBUILD_API_KEY", "MBUILD_API_KEY_FILE"
SHORT = 16
_KEY = re.compile(r"[\x21-\x7e]+")
_NAME = re.compile(r"[\w.@:-]{1,64}", re.ASCII)


class Keys:
    """The keys that are valid now: one of the environment, those of a file, or both. Raises SettingError."""

    def __init__(self, key: str, file: str) -> None:
        self._file = file
        self._own = _keys_of(KEY, key) if key else ()
        self._watched = Watched(*([file] if file else []))
        self._known = self._all()

    @property
    def shortest(self) -> int:
        return min(length for _, _, length in self._known)

    def __len__(self) -> int:
        return len(self._known)

    def reread(self) -> bool:
        """Whether the file has changed and was read again. Raises SettingError, then the keys stay what they were."""
        if not self._watched.changed():
            return False
        self._known = self._all()
        return True

    def name(self, headers: Mapping[str, str]) -> str | None:
        """The name of the key that a request brings, None where it brings none or a wrong one."""
        found = None
        for given in _given(headers):
            digest = hashlib.sha256(given.encode("utf-8", "surrogateescape")).digest()
            for name, known, _ in self._known:  # every one, found or not
                if hmac.compare_digest(digest, known):
                    found = name
        return found

    def _all(self) -> tuple[tuple[str, bytes, int], ...]:
        return (*self._own, *(_keys_of(FILE, secret_text(FILE, self._file), self._file) if self._file else ()))


def has_key(headers: Mapping[str, str]) -> bool:
    """Whether a request brings anything that could be a key."""
    return bool(_given(headers))


def _given(headers: Mapping[str, str]) -> list[str]:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    found = [token.strip()] if scheme.lower() == "bearer" else []
    return [each for each in (*found, headers.get("x-api-key", "")) if each]


def _keys_of(variable: str, text: str, file: str = "") -> tuple[tuple[str, bytes, int], ...]:
    """Name, digest and length of each: a line is KEY or NAME KEY. Says which line is wrong, never what it holds."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"{variable}: line {number} of {file}" if file else f"{variable}"
        if len(words) > (2 if file else 1) or not _KEY.fullmatch(words[-1]):
            raise SettingError(
                f"{where} is not a key of printable ASCII without spaces{', or NAME KEY' if file else ''}."
            )
        name = words[0] if len(words) == 2 else f"line {number}" if file else "environment"
        if len(words) == 2 and not _NAME.fullmatch(name):
            raise SettingError(f"{where}: a name has letters, digits and . _ - @ : only, 64 at most.")
        found.append((name, hashlib.sha256(words[-1].encode()).digest(), len(words[-1])))
    if not found:
        raise SettingError(f"{variable}: {file or 'it'} has no key.")
    return tuple(found)
