"""scikit-learn models: joblib, pickle and skops files, told apart and read without loading them.

A pickle is a model only where it names scikit-learn's classes. The version that wrote it stands inside it, or in
requirements.txt beside it. Whether it may be loaded is said by builder/formats/code.py.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from packaging.version import InvalidVersion, Version

from builder.errors import UnsupportedModel
from builder.formats.known import PICKLE, SKOPS, Sighting
from builder.formats.pickle_files import report_of
from builder.formats.pickle_globals import not_allowed
from builder.formats.pickles import PickleReport, UnreadablePickle
from builder.model.source import Detection, ModelSource

_MAX_SCHEMA = 256 << 20
_REQUIREMENTS = PurePosixPath("requirements.txt")
_PIN = re.compile(rb"^scikit[-_]learn\s*==\s*([0-9][0-9A-Za-z.]*)", re.MULTILINE)
_SKOPS_METHODS = frozenset({"MethodNode", "OperatorFuncNode", "PartialNode"})
"""Nodes of skops that reach a callable by an attribute's name, not by their class."""


class PickleUnreadable(UnsupportedModel):
    code = "pickle-unreadable"
    message = "{path} cannot be read without loading it: {reason}"
    hint = (
        "it was cut off, or it is not as joblib and pickle write; save it again with joblib.dump. `--allow-code` loads "
        "what you trust as it is"
    )


class SklearnFormat:
    """See the module."""

    name = "sklearn"
    summary = "scikit-learn: a .joblib, .pkl or .skops file of an estimator or pipeline"
    kinds = (PICKLE, SKOPS)

    def detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> tuple[Detection, ...]:
        return tuple(self._detect(source, sightings))

    def _detect(self, source: ModelSource, sightings: tuple[Sighting, ...]) -> Iterator[Detection]:
        for sighting in sightings:
            if sighting.kind not in self.kinds:
                continue
            names, versions = _names(source, sighting.path, sighting.kind is SKOPS)
            if any(name.startswith("sklearn.") for name in names):
                yield Detection(
                    format=self.name,
                    entry=sighting.path,
                    evidence=(str(sighting),),
                    versions=_versions(source, versions),
                )


def uncommon_callables(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """What the model names beyond the published list, in the order of its appearance. Raises PickleUnreadable."""
    if zipfile.is_zipfile(source.locate(found.entry)):
        return not_allowed(_skops_names(source, found.entry))
    try:
        report = _pickle(source, found.entry)
    except UnreadablePickle as error:
        raise PickleUnreadable(path=found.entry, reason=error) from error
    patched = tuple(f"{name} (which it would change)" for name in report.patched)
    return not_allowed(report.names) + patched


def _names(source: ModelSource, path: PurePosixPath, is_skops: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes and callables, and the versions of scikit-learn; for a broken file what its first bytes show."""
    try:
        if is_skops:
            return _skops_names(source, path), _skops_versions(source, path)
        report = _pickle(source, path)
        return report.names, report.versions
    except (UnreadablePickle, PickleUnreadable):
        return (("sklearn.unreadable",) if b"sklearn" in source.head(path, 8192) else ()), ()


def _pickle(source: ModelSource, path: PurePosixPath) -> PickleReport:
    with source.locate(path).open("rb") as file:
        return report_of(file)


def _versions(source: ModelSource, inside: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    stated = inside or _required(source)
    return (("scikit-learn", max(stated, key=_order)),) if stated else ()


def _order(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


def _required(source: ModelSource) -> tuple[str, ...]:
    found = _PIN.search(source.head(_REQUIREMENTS, 1 << 16)) if source.find(_REQUIREMENTS) else None
    return (found[1].decode(),) if found else ()


def _skops_names(source: ModelSource, path: PurePosixPath) -> tuple[str, ...]:
    """Every class of the schema (skops, docs: persistence format), and methods that it binds."""
    names: dict[str, None] = {}
    for node in _nodes(_schema(source, path)):
        names[f"{node.get('__module__')}.{node.get('__class__')}"] = None
        if node.get("__loader__") in _SKOPS_METHODS:
            names[f"{node.get('__module__')}.{node.get('__class__')} (by {node['__loader__']})"] = None
        content = node.get("content")
        if isinstance(content, dict) and "module_path" in content:  # FunctionNode of protocol 0
            names[f"{content.get('module_path')}.{content.get('function')}"] = None
    return tuple(names)


def _skops_versions(source: ModelSource, path: PurePosixPath) -> tuple[str, ...]:
    found = (_attribute(node, "_sklearn_version") for node in _nodes(_schema(source, path)))
    return tuple(dict.fromkeys(version for version in found if version))


def _attribute(node: dict[str, Any], name: str) -> str:
    """The text of an attribute: a JsonNode whose content is JSON again."""
    content = node.get("content")
    value = content.get(name) if isinstance(content, dict) else None
    text = value.get("content") if isinstance(value, dict) else None
    return text.strip('"') if isinstance(text, str) else ""


def _schema(source: ModelSource, path: PurePosixPath) -> Any:
    try:
        with zipfile.ZipFile(source.locate(path)) as archive:
            if archive.getinfo("schema.json").file_size > _MAX_SCHEMA:
                raise PickleUnreadable(path=path, reason="its schema is too large")
            return json.loads(archive.read("schema.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, RecursionError, EOFError) as error:
        raise PickleUnreadable(path=path, reason=error) from error


def _nodes(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object with a class, in the order of the file."""
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "__class__" in value or "__module__" in value or "__loader__" in value:
                yield value
            waiting += reversed(list(value.values()))
        elif isinstance(value, list):
            waiting += reversed(value)
