"""YAML documents for people and machines: values in, text out, in the order in which they were written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

Document = Mapping[str, Any]


class _Dumper(yaml.SafeDumper):
    """Without aliases, which some readers refuse, and with lists indented below their key."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Several lines as a block, as a person would write them."""
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def to_yaml(documents: Iterable[Document], comment: str = "") -> str:
    """All documents in one text, below ``comment``."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    style: dict[str, Any] = {"sort_keys": False, "width": 120, "allow_unicode": True}
    return head + "---\n".join(yaml.dump(dict(each), Dumper=_Dumper, **style) for each in documents)
