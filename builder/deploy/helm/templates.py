"""Documents as Helm templates: what stands in them is written as ever, and marks in it become template code.

A mark goes through the YAML emitter as a word that it neither quotes nor breaks; braces of the documents' own are
written so that Helm leaves them alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from builder.deploy.documents import Document, to_yaml

_OPEN, _CLOSE = "\ue002", "\ue003"
_MARK = rf"{_OPEN}(\d+){_CLOSE}"
_LINES = re.compile(rf"^( *)(?:- {_MARK}|{_MARK}: (?:''|null))$", re.MULTILINE)
_BLOCK = re.compile(rf"^( *)((?:- )?)([^\n]*:) {_MARK}$", re.MULTILINE)
_STEP = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Scalar:
    """``code`` in the place of a value, as in ``.Values.replicas``."""

    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    """All that a value holds, as YAML below its key."""

    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lines:
    """Lines of a template in the place of an item of a list, or of a key with its value; indented by what they stand
    in."""

    lines: tuple[str, ...]


Mark = Scalar | Block | Lines


@dataclass(slots=True)
class Marks:
    """Marks by their numbers; ``put`` gives the word that stands for one."""

    every: list[Mark] = field(default_factory=list)

    def put(self, mark: Mark) -> str:
        self.every.append(mark)
        return f"{_OPEN}{len(self.every) - 1}{_CLOSE}"

    def key(self, *lines: str) -> dict[str, str]:
        """For a mapping: lines in the place of a key."""
        return {self.put(Lines(lines=lines)): ""}


def if_value(condition: str, *lines: str) -> tuple[str, ...]:
    return (f"{{{{- if {condition} }}}}", *lines, "{{- end }}")


def with_block(value: str, key: str) -> tuple[str, ...]:
    """A key that is there where its value is not empty."""
    return (f"{{{{- with {value} }}}}", f"{key}:", "  {{- toYaml . | nindent @ }}", "{{- end }}")


def to_template(document: Document, marks: Marks, condition: str = "") -> str:
    """``condition``: when there is this document at all."""
    text = to_yaml([document]).replace("{{", '{{ "{{" }}')
    text = _LINES.sub(lambda found: _lines(found, marks), text)
    text = _BLOCK.sub(lambda found: _block(found, marks), text)
    text = re.sub(_MARK, lambda found: _scalar(marks.every[int(found[1])]), text)
    return f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n" if condition else text


def _lines(found: re.Match[str], marks: Marks) -> str:
    mark = marks.every[int(found[2] or found[3])]
    assert isinstance(mark, Lines)
    below = str(len(found[1]) + _STEP)
    return "\n".join(f"{found[1]}{line}".replace("nindent @", f"nindent {below}") for line in mark.lines)


def _block(found: re.Match[str], marks: Marks) -> str:
    mark = marks.every[int(found[4])]
    if not isinstance(mark, Block):
        return found[0]
    depth = len(found[1]) + len(found[2]) + _STEP
    return f"{found[1]}{found[2]}{found[3]}\n{' ' * depth}{{{{- toYaml {mark.value} | nindent {depth} }}}}"


def _scalar(mark: Mark) -> str:
    assert isinstance(mark, Scalar)
    return f"{{{{ {mark.code} }}}}"


def replaced(value: Any, words: Mapping[str, str]) -> Any:
    """The same with each text of ``words`` as what it stands for."""
    if isinstance(value, Mapping):
        return {key: replaced(each, words) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(each, words) for each in value]
    return words.get(value, value) if isinstance(value, str) else value


def commented(parts: Iterable[tuple[str, Any, str]]) -> str:
    """Keys and values as YAML, each below what it is for."""
    texts = []
    for key, value, about in parts:
        texts.append("".join(f"# {line}\n" for line in about.splitlines()) + to_yaml([{key: value}]))
    return "\n".join(texts)
