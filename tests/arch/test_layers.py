"""The house holds: imports go from right to left only, each side effect has one door, files and functions are short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

BUILDER = Path(__file__).resolve().parents[2] / "builder"

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "canonical", "events", "resources", "elf", "isolation", "__init__"),
    ("oci",),
    ("model",),
    ("plan",),
    ("host",),
    ("formats", "convert", "targets", "base", "servers", "render", "assemble", "registry", "probe", "deploy"),
    ("pipeline", "doctor"),
    ("cli",),
    ("__main__",),
)
SELF_CONTAINED = ("serve/", "servers/triton_backend/", "convert/workers/")
DOORS = {
    "subprocess": ("host/run.py",),
    "socket": ("isolation/", "probe/sandbox/"),
    "requests": ("host/http.py", "host/http_session.py"),
    "urllib.request": (),
    "http.client": (),
    "time": ("host/clock.py", "isolation/", "probe/sandbox/"),
    "datetime": ("host/clock.py",),
    "tempfile": ("host/fs.py", "host/store.py"),
    "docker": ("host/docker",),
    "jinja2": ("render",),
    "typer": ("cli",),
    "rich": ("cli",),
    "torch": (),
    "tensorflow": (),
    "onnxruntime": (),
    "sklearn": (),
}


def sources() -> Iterator[tuple[str, ast.Module, str]]:
    """(path relative to builder/, tree, text) of each module that is builder's own, not copied elsewhere."""
    for path in sorted(BUILDER.rglob("*.py")):
        name = path.relative_to(BUILDER).as_posix()
        if not name.startswith(SELF_CONTAINED):
            text = path.read_text()
            yield name, ast.parse(text), text


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def level(package: str) -> int:
    for number, group in enumerate(LAYERS):
        if package in group:
            return number
    raise AssertionError(f"builder/{package} has no place in the import order: give it one in LAYERS")


def test_imports_go_from_right_to_left() -> None:
    wrong = []
    for name, tree, _ in sources():
        own = name.split("/")[0].removesuffix(".py")
        for module in imports(tree):
            parts = module.split(".")
            inside = parts[0] == "builder" and len(parts) > 1
            if not inside or not ((BUILDER / parts[1]).is_dir() or (BUILDER / f"{parts[1]}.py").is_file()):
                continue
            other = parts[1]
            if other != own and level(other) >= level(own) and level(own) != 0:
                wrong.append(f"{name} imports builder.{other}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_each_side_effect_has_one_door() -> None:
    wrong = []
    for name, tree, _ in sources():
        for module in imports(tree):
            for door, allowed in DOORS.items():
                if (module == door or module.startswith(f"{door}.")) and not name.startswith(allowed):
                    wrong.append(f"{name} imports {module}")
    assert not wrong, "\n".join(sorted(set(wrong)))


def test_copied_code_imports_nothing_of_builder() -> None:
    wrong = []
    for path in sorted(BUILDER.rglob("*.py")):
        name = path.relative_to(BUILDER).as_posix()
        if name.startswith(SELF_CONTAINED):
            wrong += [f"{name}: {m}" for m in imports(ast.parse(path.read_text())) if m.split(".")[0] == "builder"]
    assert not wrong, "\n".join(wrong)


def test_library_code_does_not_print() -> None:
    wrong = [
        f"{name}:{node.lineno}"
        for name, tree, _ in sources()
        if not name.startswith("cli") and "sandbox" not in name
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("limit", [400])
def test_files_are_short(limit: int) -> None:
    long = {p.relative_to(BUILDER).as_posix(): len(p.read_text().splitlines()) for p in BUILDER.rglob("*.py")}
    assert not {name: lines for name, lines in long.items() if lines > limit}


@pytest.mark.parametrize("limit", [60])
def test_functions_are_short(limit: int) -> None:
    long = []
    for path in sorted(BUILDER.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > limit:
                    long.append(f"{path.relative_to(BUILDER)}:{node.name} has {lines} lines")
    assert not long, "\n".join(long)
