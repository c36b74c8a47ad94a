"""Content digests as the OCI image-spec writes them (descriptor.md#digests). Only sha256 is written; a reader of
another algorithm is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from builder.errors import IntegrityError

_PATTERN = re.compile(r"sha256:[0-9a-f]{64}")


class MalformedDigest(IntegrityError):
    code = "malformed-digest"
    message = "{text!r} is not a sha256 digest"
    hint = "a digest is written sha256: and 64 lower-case hexadecimal digits"


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """``sha256:<hex>``. Raises MalformedDigest for any other text."""

    text: str

    def __post_init__(self) -> None:
        if not _PATTERN.fullmatch(self.text):
            raise MalformedDigest(text=self.text)

    @classmethod
    def of(cls, content: bytes | memoryview) -> Digest:
        return cls("sha256:" + hashlib.sha256(content).hexdigest())

    @classmethod
    def of_chunks(cls, chunks: Iterable[bytes]) -> Digest:
        hasher = hashlib.sha256()
        for chunk in chunks:
            hasher.update(chunk)
        return cls("sha256:" + hasher.hexdigest())

    @classmethod
    def of_file(cls, path: Path) -> Digest:
        with path.open("rb") as stream:
            return cls("sha256:" + hashlib.file_digest(stream, "sha256").hexdigest())

    @classmethod
    def from_hex(cls, hexadecimal: str) -> Digest:
        return cls("sha256:" + hexadecimal)

    @property
    def hex(self) -> str:
        return self.text.removeprefix("sha256:")

    @property
    def short(self) -> str:
        """The first 12 hex digits, for people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return self.text
