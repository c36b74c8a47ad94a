"""How a scripted registry may misbehave: each class is one fault, asked for in advance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """Answer with this status instead of doing what was asked."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Cut:
    """Close the connection after ``after`` bytes of the body, whose length was promised whole."""

    after: int


@dataclass(frozen=True)
class Corrupt:
    """Flip the first byte of the body."""


@dataclass(frozen=True)
class Surplus:
    """Send ``count`` bytes more than the blob has, and say so in Content-Length."""

    count: int


@dataclass(frozen=True)
class Hangup:
    """Close the connection without an answer, the request's body unread."""


@dataclass(frozen=True)
class Swallow:
    """Close the connection after ``after`` bytes of the request's body; an upload keeps them."""

    after: int


@dataclass(frozen=True)
class Misreport:
    """Do what was asked, and say of an upload that it has ``offset`` bytes; of a blob, that this is its range."""

    offset: int


@dataclass(frozen=True)
class Drop:
    """Do what was asked, and close the connection instead of answering."""


@dataclass(frozen=True)
class Drip:
    """Send the body in pieces of ``size`` bytes, with a pause after each."""

    size: int
    seconds: float


@dataclass(frozen=True)
class Forget:
    """Say that all is well, and store nothing."""


@dataclass(frozen=True)
class Expired:
    """Take the Authorization for expired: 401, with the challenge to get another."""


Fault = Status | Cut | Corrupt | Surplus | Hangup | Swallow | Misreport | Drop | Drip | Forget | Expired
