"""A suite's ``InRelease``: its signature, and the digests of the indexes that it vouches for.

The chain is: keyring -> InRelease (OpenPGP cleartext signature) -> Packages (SHA-256) -> package (SHA-256). Signatures
are only needed when locking; after that the lock's digests stand for them. Format: wiki DebianRepository/Format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pysequoia

from builder.base.deb822 import parse_stanza
from builder.errors import IntegrityError
from builder.oci.digest import Digest, MalformedDigest


class UntrustedRelease(IntegrityError):
    code = "untrusted-release"
    message = "the InRelease file of {suite} is not signed by a key in {keyring}: {reason}"
    hint = "the mirror may be damaged or not be what it claims; try another one with MBUILD_DEBIAN_MIRROR"


class WrongRelease(IntegrityError):
    code = "wrong-release"
    message = "the mirror's InRelease file of {suite} is that of {found}"
    hint = "the mirror may be damaged or not be what it claims; try another one with MBUILD_DEBIAN_MIRROR"


class IndexNotListed(IntegrityError):
    code = "index-not-listed"
    message = "the InRelease file of {suite} has no {path}"
    hint = "check `components` and `platforms` in image.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Keyring:
    """OpenPGP certificates, and the file name to call them by in messages."""

    name: str
    content: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """What a verified InRelease says. ``indexes`` maps a path below the suite to its digest; dates are RFC 5322."""

    suite: str
    version: str
    date: str
    valid_until: str
    indexes: Mapping[str, Digest]
    signed_by: tuple[str, ...]

    def index(self, path: str) -> Digest:
        """The digest of an index. Raises IndexNotListed."""
        if path not in self.indexes:
            raise IndexNotListed(suite=self.suite, path=path)
        return self.indexes[path]


def verify_release(content: bytes, keyring: Keyring, suite: str) -> Release:
    """Read an InRelease file after checking its signature and that it is of ``suite``.

    One good signature by any key of the keyring is enough, as for apt. Raises UntrustedRelease or WrongRelease.
    """
    text, signed_by = _verified(content, keyring, suite)
    fields = parse_stanza(text)
    if suite not in (fields.get("codename"), fields.get("suite")):
        raise WrongRelease(suite=suite, found=fields.get("codename", "no suite"))
    return Release(
        suite=suite,
        version=fields.get("version", ""),
        date=fields.get("date", ""),
        valid_until=fields.get("valid-until", ""),
        indexes=_indexes(fields.get("sha256", ""), suite),
        signed_by=signed_by,
    )


def _verified(content: bytes, keyring: Keyring, suite: str) -> tuple[str, tuple[str, ...]]:
    """The signed text alone (bytes around the signed part are dropped) and the fingerprints of its good signers."""
    try:
        certificates = pysequoia.Cert.split_bytes(keyring.content)
        verified = pysequoia.verify(content, lambda _: certificates)
        text = (verified.bytes or b"").decode()
    except Exception as error:  # pysequoia raises bare RuntimeError and friends, with a backtrace after the first line
        reason = (str(error).splitlines() or ["unreadable"])[0]
        raise UntrustedRelease(suite=suite, keyring=keyring.name, reason=reason) from error
    return text, tuple(sorted({signature.certificate for signature in verified.valid_sigs}))


def _indexes(listing: str, suite: str) -> dict[str, Digest]:
    """The ``SHA256`` field: lines of digest, size, path."""
    indexes = {}
    for line in listing.splitlines():
        words = line.split()
        if len(words) != 3:
            continue
        try:
            indexes[words[2]] = Digest.from_hex(words[0])
        except MalformedDigest as error:
            raise WrongRelease(suite=suite, found=f"no suite: it lists {line!r}") from error
    return indexes
