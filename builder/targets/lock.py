"""``mbuild.lock``: every choice that decides the bytes of an image, written down beside the model.

The lock holds pins and digests, never an address or a credential: where a wheel or a package is fetched from is the
machine's business. One entry for each identifier (``onnx-http-cpu-linux_amd64``), so that targets do not disturb each
other. Same lock and same inputs give the same image digest on any machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.canonical import readable_json
from builder.errors import ResolutionError, SpecError, UsageError
from builder.host.fs import atomic_write
from builder.model.bounds import AS_IT_WAS
from builder.oci.digest import Digest, MalformedDigest
from builder.plan.wheel import LockedWheel

SCHEMA = 1


class MalformedLock(SpecError):
    code = "malformed-lock"
    message = "{path} is not a lock that this version of mbuild reads: {reason}"
    hint = "remove {path} and build again without --locked; the new lock shows in your version control as a change"


class LockDrift(ResolutionError):
    code = "lock-drift"
    message = "--locked was given, but {path} no longer fits:\n{drift}"
    hint = "build once without --locked, look at the change of {path}, and commit it"


class LockMissing(ResolutionError):
    code = "lock-missing"
    message = "--locked was given, but {path} has no entry for {identifier}"
    hint = "build once without --locked and commit {path}"


class LockNotWritable(UsageError):
    code = "lock-not-writable"
    message = "the lock {path} cannot be written: {reason}"
    hint = "name another place with --lock PATH (keep it in version control), or pass --locked to use the lock as it is"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeChoice:
    """What was asked for to make the model smaller, and what was chosen: one machine measures, all build the same."""

    asked: str
    chosen: str

    @property
    def is_smaller(self) -> bool:
        """Whether the model is another one than it was."""
        return self.chosen != AS_IT_WAS

    def to_json(self) -> dict[str, object]:
        return {"asked": self.asked, "chosen": self.chosen}


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedModel:
    """One of several models in an image: ``tools`` are (name, version) of what converted it; ``quantize`` is None where
    nothing of that kind was asked for; ``engines`` are (capability, digest)."""

    name: str
    digest: Digest
    tools: tuple[tuple[str, str], ...] = ()
    quantize: QuantizeChoice | None = None
    engines: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "digest": str(self.digest),
            **({"tools": dict(self.tools)} if self.tools else {}),
            **({"quantize": self.quantize.to_json()} if self.quantize else {}),
            **({"engines": dict(self.engines)} if self.engines else {}),
        }

    @classmethod
    def from_json(cls, name: str, value: Mapping[str, Any]) -> LockedModel:
        choice = QuantizeChoice(**value["quantize"]) if "quantize" in value else None
        tools = tuple(sorted(value.get("tools", {}).items()))
        engines = _engines(value)
        return cls(name=name, digest=Digest(value["digest"]), tools=tools, quantize=choice, engines=engines)


def _engines(value: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """In rising order of capability."""
    found = value.get("engines", {}).items()
    return tuple(sorted(found, key=lambda pair: tuple(map(int, pair[0].split(".")))))


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedTarget:
    """What was chosen for one identifier.

    ``base`` identifies the base (the digest of our own base's lock and rules, or of an upstream manifest) and
    ``base_name`` says which it is; ``python`` is the exact version in it; ``server`` is the digest of the server's
    files; ``tools`` are (name, version) of what makes bytes or reference answers; ``writer`` the revisions of our own
    writers; ``quantize`` is None where nothing of that kind was asked for; ``engines`` are (capability, digest), since
    two machines may compile other bytes. In an image of several models ``model``
    covers all, and ``models`` has each, sorted by name.
    """

    identifier: str
    model: Digest
    base_name: str
    base: Digest
    python: str
    requirements: tuple[str, ...]
    wheels: tuple[LockedWheel, ...]
    server: Digest
    tools: tuple[tuple[str, str], ...]
    writer: tuple[tuple[str, str], ...]
    quantize: QuantizeChoice | None = None
    models: tuple[LockedModel, ...] = ()
    engines: tuple[tuple[str, str], ...] = ()

    def choice(self, name: str) -> QuantizeChoice | None:
        """What was chosen to make a model smaller."""
        return {one.name: one.quantize for one in self.models}.get(name) if self.models else self.quantize

    def to_json(self) -> dict[str, object]:
        return {
            "model": str(self.model),
            "base": {"name": self.base_name, "digest": str(self.base), "python": self.python},
            "requirements": list(self.requirements),
            "wheels": [wheel.to_json() for wheel in self.wheels],
            "server": str(self.server),
            "tools": dict(self.tools),
            "writer": dict(self.writer),
            **({"quantize": self.quantize.to_json()} if self.quantize else {}),
            **({"engines": dict(self.engines)} if self.engines else {}),
            **({"models": {one.name: one.to_json() for one in self.models}} if self.models else {}),
        }

    @classmethod
    def from_json(cls, identifier: str, value: Mapping[str, Any]) -> LockedTarget:
        base = value["base"]
        return cls(
            identifier=identifier,
            model=Digest(value["model"]),
            base_name=base["name"],
            base=Digest(base["digest"]),
            python=base["python"],
            requirements=tuple(value["requirements"]),
            wheels=tuple(sorted(map(LockedWheel.from_json, value["wheels"]), key=lambda wheel: wheel.name)),
            server=Digest(value["server"]),
            tools=tuple(sorted(value["tools"].items())),
            writer=tuple(sorted(value["writer"].items())),
            quantize=QuantizeChoice(**value["quantize"]) if "quantize" in value else None,
            models=tuple(LockedModel.from_json(*one) for one in sorted(value.get("models", {}).items())),
            engines=_engines(value),
        )


_OWN = "convert.env"
"""Among the tools where a user's own environment converted."""

Lock = Mapping[str, LockedTarget]
"""Locked targets by identifier."""


def read_lock(path: Path) -> dict[str, LockedTarget]:
    """The lock, empty where there is no file. Raises MalformedLock."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise MalformedLock(path=path, reason=error) from error
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        found = value.get("schema") if isinstance(value, dict) else value
        raise MalformedLock(path=path, reason=f"schema {found!r} instead of {SCHEMA}")
    try:
        return {name: LockedTarget.from_json(name, entry) for name, entry in value["targets"].items()}
    except (KeyError, TypeError, AttributeError, ValueError, MalformedDigest) as error:
        raise MalformedLock(path=path, reason=f"a field is missing or wrong ({error!r})") from error


def write_lock(path: Path, lock: Lock) -> None:
    """Write it where it differs from what is there. Raises LockNotWritable."""
    content = readable_json({"schema": SCHEMA, "targets": {name: entry.to_json() for name, entry in lock.items()}})
    try:
        if not path.is_file() or path.read_bytes() != content:
            atomic_write(path, content)
    except OSError as error:
        raise LockNotWritable(path=path, reason=error.strerror or error) from error


def drift(old: LockedTarget, new: LockedTarget) -> tuple[str, ...]:
    """What differs, one line for each field: ``wheels: numpy 2.5.4 -> 2.5.5``. Empty when nothing does."""
    lines = [*_whose_environment(dict(old.tools), dict(new.tools))]
    before, after = _flat(old.to_json()), _flat(new.to_json())
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            lines.append(f"  {name}: {before.get(name, 'not there')} -> {after.get(name, 'not there')}")
    return tuple(lines)


def _whose_environment(old: Mapping[str, str], new: Mapping[str, str]) -> tuple[str, ...]:
    """Why the versions that converted differ, where those of a user are among them."""
    was, now = ({name: tools[name] for name in tools if name.startswith("convert.")} for tools in (old, new))
    own = "an environment of the user's own (--env)"
    if was == now or not {_OWN} & (was.keys() | now.keys()):
        return ()
    if _OWN not in now:
        return (f"  the model was converted in {own} when the lock was written, and now in that of mbuild",)
    if _OWN not in was:
        return (f"  the model was converted in the environment of mbuild when the lock was written, and now in {own}",)
    return (f"  the model is converted in {own} that holds other versions than when the lock was written",)


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, item in value.items():
        if key == "wheels":
            flat |= {f"wheels.{wheel['name']}": f"{wheel['version']} ({wheel['filename']})" for wheel in item}
        elif isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[prefix + key] = ", ".join(item) if isinstance(item, list) else str(item)
    return flat
