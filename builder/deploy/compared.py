"""What applying a document would change of what runs, as ``kubectl apply`` decides it: what the document says is made
so, what it said when it was applied last and says no more is taken away, all else is the cluster's own business."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from builder.deploy.documents import Document

_LAST = "kubectl.kubernetes.io/last-applied-configuration"
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
_UNITS = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGT", 1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGT", 1)},
}
_QUANTITIES = ("limits", "requests", "sizeLimit", "averageValue")
_FOLLOWS = ("mbuild.dev/", "app.kubernetes.io/version")
"""Labels and annotations that say what the image says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldChange:
    """``path`` is dotted, with names of list items in brackets; None: it is not there."""

    path: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, object]:
        return {"path": self.path, "before": self.before, "after": self.after}


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentChange:
    """``is_new``: there is none of that name yet."""

    kind: str
    name: str
    is_new: bool
    fields: tuple[FieldChange, ...] = ()

    @property
    def is_change(self) -> bool:
        return self.is_new or bool(self.fields)

    def to_json(self) -> dict[str, object]:
        fields = [one.to_json() for one in self.fields]
        return {"kind": self.kind, "name": self.name, "new": self.is_new, "fields": fields}


def compare_document(document: Document, live: Document | None) -> DocumentChange:
    """Pure. ``live`` is as the cluster has it, None where it has none."""
    kind, name = str(document["kind"]), str(document["metadata"]["name"])
    if live is None:
        return DocumentChange(kind=kind, name=name, is_new=True)
    last = _applied(live)
    found = [
        one for key in _parts(document, last) for one in _changes(key, document.get(key), live.get(key), last.get(key))
    ]
    return DocumentChange(kind=kind, name=name, is_new=False, fields=tuple(found))


def _parts(document: Document, last: Mapping[str, Any]) -> list[str]:
    return [key for key in dict.fromkeys((*document, *last)) if key not in ("apiVersion", "kind")]


def _applied(live: Document) -> Mapping[str, Any]:
    try:
        found = json.loads(live["metadata"]["annotations"][_LAST])
    except (KeyError, TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _changes(path: str, after: Any, before: Any, last: Any) -> Iterator[FieldChange]:
    if after is None and isinstance(last, Mapping):
        after = {}  # kubectl writes down annotations that a document does not have as {}
    if isinstance(after, Mapping) and isinstance(before, Mapping):
        known = last if isinstance(last, Mapping) else {}
        for key in dict.fromkeys((*after, *(key for key in known if key in before))):
            if not (key.startswith(_FOLLOWS) or (path, key) == ("metadata", "namespace")):
                yield from _changes(f"{path}.{key}", after.get(key), before.get(key), known.get(key))
    elif isinstance(after, list) and isinstance(before, list):
        yield from _items(path, after, before, last if isinstance(last, list) else [])
    elif not _same(path, after, before):
        yield FieldChange(path=path, before=before, after=after)


def _items(path: str, after: list[Any], before: list[Any], last: list[Any]) -> Iterator[FieldChange]:
    """Items with names are those of that name; others go by their place, and there must be as many."""
    named = [_by_name(items) for items in (after, before, last)]
    if after and None not in named[:2]:
        new, old, known = (items or {} for items in named)
        for name in dict.fromkeys((*new, *(name for name in known if name in old))):
            yield from _changes(f"{path}[{name}]", new.get(name), old.get(name), known.get(name))
    elif len(after) != len(before):
        yield FieldChange(path=path, before=before, after=after)
    else:
        past = last if len(last) == len(after) else [None] * len(after)
        for number, (new_item, old_item, known_item) in enumerate(zip(after, before, past, strict=True)):
            yield from _changes(f"{path}[{number}]", new_item, old_item, known_item)


def _by_name(items: list[Any]) -> dict[str, Any] | None:
    """None where they have none, or not one each."""
    named = {str(item["name"]): item for item in items if isinstance(item, Mapping) and "name" in item}
    return named if len(named) == len(items) else None


def _same(path: str, one: Any, other: Any) -> bool:
    if one == other:
        return True
    amounts = [_amount(each) for each in (one, other)] if any(word in path for word in _QUANTITIES) else [None]
    return None not in amounts and amounts[0] == amounts[1]


def _amount(value: Any) -> Decimal | None:
    """A quantity of Kubernetes: 1 is 1000m, and 1024Mi is 1Gi."""
    found = _QUANTITY.fullmatch(str(value))
    return Decimal(found[1]) * _UNITS[found[2] or ""] if found else None
