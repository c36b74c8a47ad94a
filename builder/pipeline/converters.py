"""The environments that converters run in: which there are, which are installed, installing and removing them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from builder.convert.converters import CONVERTERS, Converter
from builder.convert.engines import TENSORRT_RTX
from builder.convert.envs import (
    EnvironmentSpec,
    directory_bytes,
    ensure_environment,
    environments_directory,
    find_environment,
)
from builder.convert.optimize import ONNX_TOOLS
from builder.convert.reference import REFERENCE
from builder.errors import UsageError
from builder.host import Host
from builder.host.fs import remove_tree
from builder.model.problems import suggestion

_OF_NO_FORMAT = {
    REFERENCE.name: (REFERENCE, "onnxruntime, the reference"),
    ONNX_TOOLS.name: (ONNX_TOOLS, "the passes after each conversion, and --quantize"),
    TENSORRT_RTX.name: (TENSORRT_RTX, "engines for --target tensorrt"),
}
"""Environments with what they are for."""


class UnknownConverter(UsageError):
    code = "unknown-converter"
    message = "there is no converter environment {name!r}{suggestion}"
    hint = "`mbuild converters list` shows them: {names}"


class NoConverterNamed(UsageError):
    code = "no-converter-named"
    message = "no converter environment was named"
    hint = "name one or more, or give --all; `mbuild converters list` shows them: {names}"


@dataclass(frozen=True, kw_only=True, slots=True)
class EnvironmentLine:
    """An environment: ``formats`` use it, ``framework`` is what they convert from with its version, ``size`` in bytes
    on disk, None where it is not installed, and ``expected`` what it would take then (0: not known). One that was made
    for other pins has only a key for a name."""

    name: str
    framework: str
    formats: tuple[str, ...]
    pins: tuple[str, ...]
    size: int | None
    expected: int = 0

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "framework": self.framework,
            "formats": list(self.formats),
            "requirements": list(self.pins),
            "installed": self.size is not None,
            "size": self.size,
            "expected": self.expected or None,
        }


def list_environments(host: Host) -> tuple[EnvironmentLine, ...]:
    """Those that converters name, then what else lies there: for models that asked for other versions, and old ones."""
    known = [_line(spec, host) for spec in _specs().values()]
    keys = {spec.key for spec in _specs().values()}
    others = [path for path in sorted(environments_directory(host).glob("[0-9a-f]*")) if path.is_dir()]
    return (
        *known,
        *(
            EnvironmentLine(name=path.name[:12], framework="", formats=(), pins=(), size=directory_bytes(path))
            for path in others
            if path.name not in keys
        ),
    )


def install_environments(names: Sequence[str], every: bool, host: Host) -> None:
    """Make those that are not there. Raises UnknownConverter, NoConverterNamed, and what uv says."""
    specs = _specs()
    for name in specs if every else _known(names, list(specs)):
        ensure_environment(specs[name], host)


def remove_environments(names: Sequence[str], every: bool, host: Host) -> int:
    """Remove environments by name, or all with what else lies there; the bytes that they held."""
    lines = {line.name: line for line in list_environments(host)}
    keys = {name: spec.key for name, spec in _specs().items()}
    freed = 0
    for name in lines if every else _known(names, list(lines)):
        found = [path for path in environments_directory(host).glob(f"{keys.get(name, name)}*") if path.is_dir()]
        for path in found:
            freed += directory_bytes(path)
            remove_tree(path)
    return freed


def framework_version(converter: Converter) -> str:
    """The framework with the version that its environment pins, as people write it: XGBoost 3.2.0."""
    own = _letters(converter.framework)
    for pin in converter.environment.requirements:
        name, _, version = pin.partition("==")
        if _letters(name.removesuffix("-cpu")) in (own, own.removeprefix("py")):
            return f"{converter.framework} {version}"
    return converter.framework


def _letters(text: str) -> str:
    return re.sub(r"[^a-z]", "", text.lower())


def _specs() -> dict[str, EnvironmentSpec]:
    specs = {converter.environment.name: converter.environment for converter in CONVERTERS.values()}
    return specs | {name: spec for name, (spec, _) in _OF_NO_FORMAT.items()}


def _line(spec: EnvironmentSpec, host: Host) -> EnvironmentLine:
    users = {name: converter for name, converter in CONVERTERS.items() if converter.environment.name == spec.name}
    frameworks = [framework_version(converter) for converter in users.values()] or [_OF_NO_FORMAT[spec.name][1]]
    place = find_environment(spec, host)
    return EnvironmentLine(
        name=spec.name,
        framework=", ".join(dict.fromkeys(frameworks)),
        formats=tuple(users),
        pins=spec.requirements,
        size=None if place is None else directory_bytes(place),
        expected=spec.megabytes * 1_000_000,
    )


def _known(names: Sequence[str], all_names: list[str]) -> Sequence[str]:
    if not names:
        raise NoConverterNamed(names=", ".join(all_names))
    for name in names:
        if name not in all_names:
            raise UnknownConverter(name=name, suggestion=suggestion(name, all_names), names=", ".join(all_names))
    return names
