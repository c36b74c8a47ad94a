"""``fleet.yaml``: many model directories that are built together. Its grammar is builder/schemas/fleet.schema.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import SpecError, UsageError
from builder.model.problems import listing
from builder.model.schema_check import check_schema
from builder.model.yaml_text import YamlProblem, parse_mapping
from builder.oci.platform import Platform

DEFAULT_TARGET = "cpu"


class FleetInvalid(SpecError):
    code = "fleet-invalid"
    message = "{path} is wrong:\n{problems}"
    hint = "docs/fleet.md shows what it may say; a plain list of directories on the command line needs no file"


class NoFleet(UsageError):
    code = "no-fleet"
    message = "{path} is neither a model directory nor a fleet.yaml"
    hint = "name model directories, for example `mbuild build-all models/*`, or one YAML file that lists them"


class EmptyFleet(SpecError):
    code = "fleet-pattern-empty"
    message = "{path}: models: no directory matches {pattern!r}"
    hint = "patterns are relative to the file that holds them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One model of a fleet: its directory, its target, and a tag of its own (empty: made of its name)."""

    directory: Path
    target: str = DEFAULT_TARGET
    tag: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fleet:
    """``registry`` is where every member without a tag of its own goes; empty where none was named."""

    members: tuple[Member, ...]
    registry: str = ""


def read_fleet(paths: Sequence[Path], target: str = "", registry: str = "") -> Fleet:
    """The fleet of one YAML file, or of model directories. ``target`` is for members that name none, ``registry`` for
    those without a tag; both come before what stands at the top of the file.

    Raises FleetInvalid, EmptyFleet or NoFleet.
    """
    if len(paths) == 1 and paths[0].is_file():
        return _from_file(paths[0], target, registry)
    for path in paths:
        if not path.is_dir():
            raise NoFleet(path=path)
    members = tuple(Member(directory=path, target=target or DEFAULT_TARGET) for path in paths)
    return Fleet(members=members, registry=registry)


def _from_file(path: Path, target: str, registry: str) -> Fleet:
    try:
        value = parse_mapping(path.read_bytes())
    except YamlProblem as error:
        raise FleetInvalid(path=path, problems=f"  {error}") from error
    if problems := check_schema(value, "fleet"):
        raise FleetInvalid(path=path, problems=listing(problems))
    usual = target or value.get("target", DEFAULT_TARGET)
    members = tuple(member for given in value["models"] for member in _members(given, path, usual))
    return Fleet(members=members, registry=registry or value.get("registry", ""))


def _members(given: str | Mapping[str, Any], path: Path, target: str) -> Iterator[Member]:
    said = {"path": given} if isinstance(given, str) else given
    found = sorted(place for place in path.parent.glob(said["path"]) if place.is_dir())
    if not found:
        raise EmptyFleet(path=path, pattern=said["path"])
    for directory in found:
        yield Member(directory=directory, target=said.get("target", target), tag=said.get("tag", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMember:
    """A member as another machine is told to build it: ``path`` is its directory relative to where the fleet lies;
    without ``platforms``, for the platform of that machine."""

    name: str
    path: str
    target: str
    tag: str
    platforms: tuple[Platform, ...] = ()

    @property
    def options(self) -> tuple[str, ...]:
        """Of the build, beside its target and its tag."""
        return ("--platform", ",".join(map(str, self.platforms))) if self.platforms else ()

    @property
    def registry(self) -> str:
        return self.tag.partition("/")[0]
