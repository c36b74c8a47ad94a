"""What a ``Packages`` index says: binary packages, the relations between them, and an index to look them up in.

Relations follow Debian policy 7.1: ``a (>= 1) | b, c:any``. Nothing is downloaded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from builder.base.deb822 import Stanza, parse_stanza
from builder.base.version import DebianVersion
from builder.errors import IntegrityError
from builder.oci.digest import Digest

_RELATION = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9.+-]*)(?::(?P<architecture>[a-z0-9-]+))?"
    r"\s*(?:\(\s*(?P<operator><<|<=|=|>=|>>|<|>)\s*(?P<version>[^\s)]+)\s*\))?"
)
_HOLDS = {
    "<<": lambda found, asked: found < asked,
    "<=": lambda found, asked: found <= asked,
    "=": lambda found, asked: found == asked,
    ">=": lambda found, asked: found >= asked,
    ">>": lambda found, asked: found > asked,
    "<": lambda found, asked: found <= asked,  # the obsolete spelling of <=
    ">": lambda found, asked: found >= asked,
}


class MalformedIndex(IntegrityError):
    code = "malformed-package-index"
    message = "the package index holds {text!r}, which is not {what}"
    hint = "the archive's mirror may be damaged; try another one with MBUILD_DEBIAN_MIRROR"


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """A package name with an optional architecture and version bound, as one alternative of a dependency."""

    name: str
    architecture: str = ""
    operator: str = ""
    version: str = ""

    def admits(self, version: DebianVersion | None) -> bool:
        """Whether a package of this version satisfies the bound. An unversioned provision (None) meets no bound."""
        if not self.operator:
            return True
        return version is not None and _HOLDS[self.operator](version, DebianVersion(self.version))

    def __str__(self) -> str:
        name = f"{self.name}:{self.architecture}" if self.architecture else self.name
        return f"{name} ({self.operator} {self.version})" if self.operator else name


def parse_relations(text: str) -> tuple[tuple[Relation, ...], ...]:
    """A relation field: all groups must hold, of each group one alternative. Raises MalformedIndex."""
    groups = (group.strip() for group in text.replace("\n", " ").split(","))
    return tuple(tuple(_relation(each) for each in group.split("|")) for group in groups if group)


def _relation(text: str) -> Relation:
    match = _RELATION.fullmatch(text.strip())
    if not match:
        raise MalformedIndex(text=text.strip(), what="a relation between packages")
    return Relation(**{name: value or "" for name, value in match.groupdict().items()})


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """One binary package in one archive. ``path`` is relative to the archive's root; ``size`` in bytes."""

    name: str
    version: DebianVersion
    archive: str
    path: str
    size: int
    sha256: Digest
    depends: tuple[tuple[Relation, ...], ...]
    conflicts: tuple[tuple[Relation, ...], ...]
    provides: tuple[Relation, ...]

    @classmethod
    def from_stanza(cls, fields: Stanza, archive: str) -> Package:
        try:
            return cls(
                name=fields["package"],
                version=DebianVersion(fields["version"]),
                archive=archive,
                path=fields["filename"],
                size=int(fields["size"]),
                sha256=Digest.from_hex(fields["sha256"]),
                depends=_field(fields, "pre-depends") + _field(fields, "depends"),
                conflicts=_field(fields, "conflicts") + _field(fields, "breaks"),
                provides=tuple(relation for group in _field(fields, "provides") for relation in group),
            )
        except (KeyError, ValueError) as error:
            raise MalformedIndex(text=fields.get("package", ""), what=f"a whole package stanza ({error})") from error


def _field(fields: Stanza, name: str) -> tuple[tuple[Relation, ...], ...]:
    return parse_relations(fields.get(name, ""))


@dataclass(slots=True)
class PackageIndex:
    """Packages by name, the newest version winning. Stanzas are kept as text and parsed when asked for, because an
    archive lists some 70,000 and a base needs twenty."""

    _stanzas: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _providers: dict[str, set[str]] = field(default_factory=dict)
    _parsed: dict[str, Package] = field(default_factory=dict)

    def add(self, text: str, archive: str) -> None:
        """Add the stanzas of a ``Packages`` file."""
        for stanza in text.split("\n\n"):
            if not stanza.startswith("Package: "):
                if stanza.strip():
                    self._add_one(stanza.strip("\n"), parse_stanza(stanza).get("package", ""), archive)
                continue
            self._add_one(stanza, stanza[len("Package: ") :].partition("\n")[0].strip(), archive)

    def _add_one(self, stanza: str, name: str, archive: str) -> None:
        if not name:
            raise MalformedIndex(text=stanza[:60], what="a package stanza")
        self._stanzas.setdefault(name, []).append((stanza, archive))
        self._parsed.pop(name, None)
        if "\nProvides:" in stanza:
            for group in _field(parse_stanza(stanza), "provides"):
                for relation in group:
                    self._providers.setdefault(relation.name, set()).add(name)

    def get(self, name: str) -> Package | None:
        """The newest package of this name."""
        if name not in self._stanzas:
            return None
        if name not in self._parsed:
            versions = [Package.from_stanza(parse_stanza(text), archive) for text, archive in self._stanzas[name]]
            self._parsed[name] = max(versions, key=lambda package: package.version)
        return self._parsed[name]

    def candidates(self, relation: Relation) -> Iterator[Package]:
        """The packages that satisfy ``relation``: the one of that name first, then its providers by name."""
        named = self.get(relation.name)
        names = sorted(self._providers.get(relation.name, ()))
        others = (package for name in names if (package := self.get(name)) and package is not named)
        return (package for package in (*((named,) if named else ()), *others) if satisfies(package, relation))


def satisfies(package: Package, relation: Relation) -> bool:
    """Whether ``package`` is, or provides, what ``relation`` asks for."""
    if package.name == relation.name:
        return relation.admits(package.version)
    return any(
        relation.admits(DebianVersion(provided.version) if provided.operator else None)
        for provided in package.provides
        if provided.name == relation.name
    )


def any_satisfies(packages: Iterable[Package], relation: Relation) -> bool:
    return any(satisfies(package, relation) for package in packages)
