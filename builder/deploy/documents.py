"""YAML documents for people and machines: values in, text out, in the order in which they were written.

A value may say why it is as it is (``because``): that becomes a comment on its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, overload

import yaml

Document = Mapping[str, Any]

_OPEN, _CLOSE = "\ue000", "\ue001"
_TEXT = "tag:yaml.org,2002:str"
_REASON = re.compile(f"{_OPEN}([0-9a-f]*){_CLOSE}(.*)$", re.MULTILINE)


class ReasonedInt(int):
    """A number like any other, with ``reason``."""

    reason = ""


class ReasonedText(str):
    """Text like any other, with ``reason``: one word, so that YAML needs no quotes around it."""

    reason = ""


@overload
def because(value: int, reason: str) -> ReasonedInt: ...
@overload
def because(value: str, reason: str) -> ReasonedText: ...
def because(value: int | str, reason: str) -> ReasonedInt | ReasonedText:
    """The same value with the reason that its line of YAML tells."""
    said = ReasonedInt(value) if isinstance(value, int) else ReasonedText(value)
    said.reason = reason
    return said


class _Dumper(yaml.SafeDumper):
    """Without aliases, which some readers refuse, and with lists indented below their key."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    """Several lines as a block, as a person would write them."""
    return dumper.represent_scalar(_TEXT, text, style="|" if "\n" in text else None)


def _reasoned(dumper: yaml.SafeDumper, value: ReasonedInt | ReasonedText) -> yaml.Node:
    """The reason goes through the emitter behind the value, as a word that it neither quotes nor breaks."""
    text = str(value)
    quoted = isinstance(value, str) and not _is_plain(text)
    hidden = f"{text}{_OPEN}{value.reason.encode().hex()}{_CLOSE}"
    return dumper.represent_scalar(_TEXT, hidden, style="'" if quoted else None)


def _is_plain(text: str) -> bool:
    try:
        return bool(yaml.safe_load(text) == text)
    except yaml.YAMLError:
        return False


_Dumper.add_representer(str, _text)
_Dumper.add_representer(ReasonedInt, _reasoned)
_Dumper.add_representer(ReasonedText, _reasoned)


def to_yaml(documents: Iterable[Document], comment: str = "") -> str:
    """All documents in one text, below ``comment``."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    style: dict[str, Any] = {"sort_keys": False, "width": 120, "allow_unicode": True}
    body = "---\n".join(yaml.dump(dict(each), Dumper=_Dumper, **style) for each in documents)
    return head + _REASON.sub(_comment, body)


def _comment(found: re.Match[str]) -> str:
    return f"{found[2]}  # {bytes.fromhex(found[1]).decode()}"
