"""Errors teach: each class has its own code, and each raise gives the facts that message and hint ask for."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import string
from collections.abc import Iterator
from pathlib import Path

import builder
from builder.errors import MbuildError

ROOT = Path(builder.__file__).parent


def all_errors() -> list[type[MbuildError]]:
    for module in pkgutil.walk_packages(builder.__path__, "builder."):
        if ".serve" not in module.name and ".workers" not in module.name:
            importlib.import_module(module.name)
    found, todo = [], [MbuildError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    return [kind for kind in found if kind.__module__.startswith("builder")]


def fields(kind: type[MbuildError]) -> set[str]:
    names = set()
    for text in (kind.message, kind.hint):
        for _, name, _, _ in string.Formatter().parse(text):
            if name:
                names.add(re.split(r"[.\[]", name)[0])
    return names


def test_codes_are_unique_and_kebab_case() -> None:
    codes: dict[str, str] = {}
    for kind in all_errors():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.code), kind
        own = "code" in kind.__dict__
        assert own, f"{kind.__name__} has no code of its own"
        assert kind.code not in codes, f"{kind.__name__} and {codes[kind.code]} share {kind.code}"
        codes[kind.code] = kind.__name__


def test_every_raised_error_says_what_to_do() -> None:
    families = {kind for kind in all_errors() if kind.__module__ == "builder.errors"}
    mute = [kind.__name__ for kind in all_errors() if kind not in families and not kind.hint]
    assert not mute


def calls() -> Iterator[tuple[str, ast.Call, str]]:
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                yield f"{path.relative_to(ROOT)}:{node.lineno}", node, name


def test_every_raise_gives_the_facts() -> None:
    kinds = {kind.__name__: kind for kind in all_errors()}
    wrong = []
    for where, call, name in calls():
        kind = kinds.get(name)
        if kind is None or kind.__init__ is not MbuildError.__init__:
            continue
        given = {keyword.arg for keyword in call.keywords}
        if None in given:  # **facts: cannot be read from the source
            continue
        if call.args or not fields(kind) <= given:
            wrong.append(f"{where}: {name} lacks {sorted(fields(kind) - {g for g in given if g})}")
    assert not wrong, "\n".join(wrong)
