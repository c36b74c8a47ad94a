"""What differs between two packages, from what they say of themselves and from their lists of layers; no layer is
read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.host import Host
from builder.model.measured import Measured
from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest
from builder.oci.graph import layer_contents, layer_roles
from builder.oci.layout import is_layout
from builder.oci.platform import Platform
from builder.pipeline.packages.copy import source_reference
from builder.pipeline.packages.package import Package, inspect_image, inspect_layout
from builder.registry.credentials import acting_for

SCHEMA = 1
_ELSEWHERE = {"schema", "platform"}
_Layer = tuple[Descriptor, str]
"""With what it says that it holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A field of the face or of the report, with its values as JSON has them; None: it is not there."""

    field: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, object]:
        return {"field": self.field, "before": self.before, "after": self.after}


@dataclass(frozen=True, kw_only=True, slots=True)
class PartChange:
    """A layer that is not in both images and says what it holds: a group of tensors, a model, a library. ``before`` and
    ``after`` are its bytes as they travel, 0 where there is none of that."""

    holds: str
    before: int
    after: int

    def to_json(self) -> dict[str, object]:
        return {"holds": self.holds, "before": self.before, "after": self.after}


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleChange:
    """The layers of one role: bytes as they travel, ``shared`` in both images; ``gone`` and ``new`` are digests, and
    ``parts`` what those hold. Large weights are cut into layers by groups of tensors, so a fine-tune of the head has
    few new ones."""

    role: str
    before: int
    after: int
    shared: int
    gone: tuple[Digest, ...]
    new: tuple[Digest, ...]
    parts: tuple[PartChange, ...] = ()

    def to_json(self) -> dict[str, object]:
        return {
            "role": self.role,
            "before": self.before,
            "after": self.after,
            "shared": self.shared,
            "gone": [str(digest) for digest in self.gone],
            "new": [str(digest) for digest in self.new],
            "parts": [one.to_json() for one in self.parts],
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """``said`` is of the faces, ``measured`` of the reports (nothing where one has none)."""

    before: Package
    after: Package
    said: tuple[Change, ...]
    layers: tuple[RoleChange, ...]
    measured: tuple[Change, ...]

    @property
    def to_fetch(self) -> int:
        """Bytes that whoever has the first must fetch for the second."""
        return sum(one.after - one.shared for one in self.layers)

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "before": {"image": self.before.image, "digest": str(self.before.digest), "size": self.before.size},
            "after": {"image": self.after.image, "digest": str(self.after.digest), "size": self.after.size},
            "to_fetch": self.to_fetch,
            "said": [one.to_json() for one in self.said],
            "layers": [one.to_json() for one in self.layers],
            "measured": [one.to_json() for one in self.measured],
        }


def diff_packages(before: str, after: str, platform: Platform, host: Host) -> Comparison:
    """Of two images in registries or layouts. A password of the environment is for the registry that it names, else for
    that of the first alone. Raises SourceNamesNoRegistry, and what ``inspect_image`` and
    ``inspect_layout`` raise."""
    if not is_layout(Path(before)):
        host = acting_for(source_reference(before).registry, host)
    one, other = (
        inspect_layout(Path(name), platform)
        if is_layout(Path(name))
        else inspect_image(source_reference(name), platform, host)
        for name in (before, after)
    )
    return compare_packages(one, other)


def compare_packages(before: Package, after: Package) -> Comparison:
    """Pure."""
    return Comparison(
        before=before,
        after=after,
        said=_changes(_said(before), _said(after)),
        layers=tuple(_layers(before, after)),
        measured=_changes(_figures(before.measured), _figures(after.measured))
        if before.measured and after.measured
        else (),
    )


def _said(package: Package) -> dict[str, Any]:
    if package.face is None:
        return {}
    face = {key: value for key, value in package.face.to_json().items() if key not in _ELSEWHERE}
    models = {model.name: {**model.to_json(), "name": None} for model in package.face.models}
    return dict(_flat({**face, "models": models}, ""))


def _figures(measured: Measured | None) -> dict[str, Any]:
    if measured is None:
        return {}
    parity = {one.name: one.to_json() | {"name": None} for one in measured.parity}
    return dict(_flat({**measured.to_json(), "parity": parity}, ""))


def _flat(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Lists are values: the tensors of a model have an order."""
    for key, one in value.items():
        if isinstance(one, Mapping):
            yield from _flat(one, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", one


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    fields = dict.fromkeys((*before, *after))
    pairs = ((field, before.get(field), after.get(field)) for field in fields)
    return tuple(Change(field=field, before=one, after=other) for field, one, other in pairs if one != other)


def _layers(before: Package, after: Package) -> Iterator[RoleChange]:
    one, other = _by_role(before), _by_role(after)
    for role in dict.fromkeys((*one, *other)):
        was, now = one.get(role, []), other.get(role, [])
        old, new = ({layer.digest: layer.size for layer, _ in side} for side in (was, now))
        yield RoleChange(
            role=role,
            before=sum(old.values()),
            after=sum(new.values()),
            shared=sum(size for digest, size in new.items() if digest in old),
            gone=tuple(digest for digest in old if digest not in new),
            new=tuple(digest for digest in new if digest not in old),
            parts=tuple(_parts(was, now)),
        )


def _parts(was: Sequence[_Layer], now: Sequence[_Layer]) -> Iterator[PartChange]:
    both = {layer.digest for layer, _ in was} & {layer.digest for layer, _ in now}
    before, after = (
        {holds: layer.size for layer, holds in side if holds and layer.digest not in both} for side in (was, now)
    )
    for holds in dict.fromkeys((*before, *after)):
        yield PartChange(holds=holds, before=before.get(holds, 0), after=after.get(holds, 0))


def _by_role(package: Package) -> dict[str, list[_Layer]]:
    roles: dict[str, list[_Layer]] = {}
    manifest, config = package.manifest, package.config
    said = zip(manifest.layers, layer_roles(manifest, config), layer_contents(manifest, config), strict=True)
    for layer, role, holds in said:
        roles.setdefault(role, []).append((layer, holds))
    return roles
