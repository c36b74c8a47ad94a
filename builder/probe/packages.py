"""Which package brought a file of an image, as the image itself says: dpkg's lists and the records of wheels."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from builder.probe.contents import ImageContents

_DPKG = PurePosixPath("/var/lib/dpkg")
_DEPENDENCY = re.compile(r"^\s*([a-z0-9][a-z0-9+.-]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """``kind`` is ``deb`` or ``wheel``; ``needs`` are names of packages of that kind, there or not."""

    kind: str
    name: str
    version: str
    needs: frozenset[str]
    files: frozenset[PurePosixPath]


def packages_of(contents: ImageContents) -> tuple[Package, ...]:
    """Every Debian package and every wheel that the image has a record of."""
    return (*_debs(contents.kept), *_wheels(contents.kept))


def _debs(kept: Mapping[PurePosixPath, bytes]) -> Iterator[Package]:
    """From ``status`` and ``info/*.list`` (dpkg) or ``status.d`` (images without dpkg: one file for each package, and
    its md5sums beside it)."""
    for path, raw in kept.items():
        if path == _DPKG / "status":
            stanzas = raw.decode(errors="replace").split("\n\n")
        elif path.parent == _DPKG / "status.d" and path.suffix != ".md5sums":
            stanzas = [raw.decode(errors="replace")]
        else:
            continue
        for stanza in stanzas:
            fields = HeaderParser().parsestr(stanza)
            if name := str(fields["Package"] or ""):
                files = _files_of_deb(name, str(fields["Architecture"] or ""), kept)
                needs = _debian_names(fields["Depends"], fields["Pre-Depends"])
                version = str(fields["Version"] or "")
                yield Package(kind="deb", name=name, version=version, needs=needs, files=files)


def _files_of_deb(name: str, architecture: str, kept: Mapping[PurePosixPath, bytes]) -> frozenset[PurePosixPath]:
    sums = kept.get(_DPKG / "status.d" / f"{name}.md5sums", b"").decode(errors="replace")
    files = {PurePosixPath("/") / line[34:] for line in sums.splitlines()}
    for known in (name, f"{name}:{architecture}"):
        listed = kept.get(_DPKG / "info" / f"{known}.list", b"").decode(errors="replace")
        files |= {PurePosixPath(line) for line in listed.splitlines()}
    return frozenset(files)


def _debian_names(*fields: object) -> frozenset[str]:
    """Names in relations such as ``libc6 (>= 2.38), debconf | debconf-2.0``."""
    parts = (part for field in fields if field for part in re.split(r"[,|]", str(field)))
    return frozenset(found[1] for part in parts if (found := _DEPENDENCY.match(part)))


def _wheels(kept: Mapping[PurePosixPath, bytes]) -> Iterator[Package]:
    """PyPA's "Recording installed projects": METADATA and RECORD of each .dist-info directory."""
    for path, raw in kept.items():
        if path.name != "METADATA":
            continue
        fields = HeaderParser().parsestr(raw.decode(errors="replace"))
        record = kept.get(path.with_name("RECORD"), b"").decode(errors="replace")
        places = (PurePosixPath(row[0]) for row in csv.reader(record.splitlines()) if row)
        yield Package(
            kind="wheel",
            name=canonicalize_name(str(fields["Name"] or path.parent.stem)),
            version=str(fields["Version"] or ""),
            needs=_required(fields.get_all("Requires-Dist", [])),
            files=frozenset(path.parent.parent / place for place in places),
        )


def _required(texts: Iterable[str]) -> frozenset[str]:
    """Names that are needed whatever extras were asked for."""
    names = set()
    for text in texts:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if not (requirement.marker and "extra" in str(requirement.marker)):
            names.add(canonicalize_name(requirement.name))
    return frozenset(names)
