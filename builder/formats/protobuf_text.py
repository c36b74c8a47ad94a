"""Protobuf's text form, read without a schema (protobuf.dev, Text Format Language Specification).

``parse`` gives every field as the list of its values, in their order: messages as such mappings, texts as ``str``,
numbers as ``int`` or ``float``, and other words (enums, booleans) as ``Word``. Not read, since no configuration of a
server has them: names of extensions and of Any in brackets.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
    |(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<number>[-+]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)f?)
    |(?P<word>-?[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>[{}<>\[\]:,;])""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|[^\x00-\x7f]", re.DOTALL)
_MAX_DEPTH = 50
_CLOSING = {"{": "}", "<": ">"}

Message = dict[str, list[Any]]


class TextProblem(ValueError):
    """What is wrong with the text, with its line."""


class Word(str):
    """A value without quotes that is no number."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def parse(text: str) -> Message:
    """The fields of the message. Raises TextProblem."""
    return _Reader(_tokens(text)).message("", 0)


def _tokens(text: str) -> list[_Token]:
    found, place, line = [], 0, 1
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            raise TextProblem(f"line {line}: {text[place]!r} stands where a name or a value should")
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_Token(kind, match[0], line))
        line, place = line + match[0].count("\n"), match.end()
    return [*found, _Token("end", "the end", line)]


class _Reader:
    """A place in the tokens of a text."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens, self._place = tokens, 0

    def message(self, closing: str, depth: int) -> Message:
        """The fields up to ``closing`` (or the end of the text, for "")."""
        fields: Message = {}
        if depth > _MAX_DEPTH:
            raise TextProblem(f"line {self._next.line}: it is nested too deeply")
        while not self._took(closing):
            name = self._take("word").text
            is_message = not self._took(":") or self._next.text in ("{", "<")
            fields.setdefault(name, []).extend(self._values(is_message, depth))
            _ = self._took(",") or self._took(";")
        return fields

    def _values(self, is_message: bool, depth: int) -> list[Any]:
        """Those of one field: a list in brackets is as many."""
        if not self._took("["):
            return [self._value(is_message, depth)]
        found: list[Any] = []
        while not self._took("]"):
            if found and not self._took(","):
                raise self._unexpected("a comma or ]")
            found.append(self._value(is_message or self._next.text in ("{", "<"), depth))
        return found

    def _value(self, is_message: bool, depth: int) -> Any:
        token = self._next
        if is_message:
            if token.text not in _CLOSING:
                raise self._unexpected("a colon or {")
            self._place += 1
            return self.message(_CLOSING[token.text], depth + 1)
        if token.kind == "text":
            return self._text()
        self._place += 1
        if token.kind == "word":
            return Word(token.text)
        if token.kind != "number":
            self._place -= 1
            raise self._unexpected("a value")
        return _number(token)

    def _text(self) -> str:
        """Strings that follow each other are one."""
        found = ""
        while self._next.kind == "text":
            try:
                found += ast.literal_eval("b" + _ESCAPED.sub(_as_bytes, self._next.text)).decode()
            except (ValueError, SyntaxError) as error:
                raise self._unexpected("a text in quotes") from error
            self._place += 1
        return found

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _took(self, mark: str) -> bool:
        token = self._next
        if token.kind != "end" and token.text == mark and token.kind == "mark":
            self._place += 1
            return True
        return token.kind == "end" and not mark

    def _take(self, kind: str) -> _Token:
        token = self._next
        if token.kind != kind:
            raise self._unexpected("the name of a field")
        self._place += 1
        return token

    def _unexpected(self, wanted: str) -> TextProblem:
        return TextProblem(f"line {self._next.line}: {self._next.text} stands where {wanted} should")


def _number(token: _Token) -> int | float:
    text = token.text
    if re.fullmatch(r"[-+]?0[xX][0-9a-fA-F]+", text):
        return int(text, 16)
    if re.fullmatch(r"[-+]?0[0-7]+", text):
        return int(text, 8)
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text.removesuffix("f"))


def _as_bytes(match: re.Match[str]) -> str:
    """Characters as the bytes of their UTF-8, which is what octal and hexadecimal escapes give one by one."""
    text = match[0]
    if text.startswith(("\\u", "\\U")) and len(text) > 2:
        text = chr(int(text[2:], 16))
    return text if text.isascii() else "".join(f"\\{byte:03o}" for byte in text.encode())
