"""Reads torch.export's archives (.pt2) without torch, and writes a copy of one in which nothing is left that runs.

Loading a .pt2 runs code in more ways than one (torch 2.13): sample inputs, weights and constants may be pickles, and
pickles of sample inputs are loaded without ``weights_only`` where they fail with it; sizes are expressions that sympy
evaluates as Python; guards are Python source; targets of calls are looked up anywhere below ``torch``; and a compiled
model is a shared library. So the copy has what is known, checked, and nothing else: one program, its weights and
constants. Needs Python alone, and nothing of mbuild.
"""

import json
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_PROGRAM_BYTES = 1 << 30


class Unsafe(Exception):
    """It would run code, or nobody could say that it does not."""


class Broken(Exception):
    """It is no whole archive of torch.export."""


_OPERATORS = "add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|getitem|and_|or_|not_|pos|index"
_DUNDERS = "__i?(and|or|xor|lshift|rshift)__"
_MATH = "ceil|floor|trunc|sqrt|log|exp|pow"
_TARGET = re.compile(
    rf"torch\.ops\.(?!_)\w+\.({_DUNDERS}|(?!__)\w+)(\.(?!__)\w+)?|_operator\.({_OPERATORS})|math\.({_MATH})|torch\.sym_\w+"
)
_SYMBOL = re.compile(r"[su]\d+|zuf\d+")
_FUNCTIONS = frozenset(
    {"Add", "Mul", "Pow", "Mod", "Max", "Min", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not"}
    | {"Rational", "Integer", "Symbol", "positive", "nonnegative", "integer", "real", "True", "False"}
    | {"FloorDiv", "CleanDiv", "CeilDiv", "ModularIndexing", "PythonMod", "TruncToInt", "FloorToInt", "CeilToInt"}
    | {"IntTrueDiv", "FloatTrueDiv", "ToFloat", "Where"}
)
_WORDS = re.compile(r"'([^']*)'|([A-Za-z_]\w*)|(\d+(?:\.\d+)?)|([\s+\-*/%(),<>=!&|~]+)")
_TREES = frozenset({None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"})
_TENSORS = re.compile(
    r"torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.(\w+Storage|Tensor|Size|device|\w*float\w*|\w*int\w*)"
    r"|torch\.storage\.\w+|torch\.serialization\._get_layout|collections\.OrderedDict|torch\.bool"
)


def read(path: Path) -> tuple[zipfile.ZipFile, str]:
    """The archive and the folder that everything in it lies in."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise Broken(f"it is not a whole zip archive: {error}") from error
    names = archive.namelist()
    folders = {name.partition("/")[0] for name in names}
    if len(folders) != 1 or len(set(names)) != len(names):
        raise Unsafe("its names are not what torch.export.save writes: several folders, or one name twice")
    return archive, folders.pop()


def program(archive: zipfile.ZipFile, folder: str) -> dict[str, Any]:
    """The graph with its signature: models/model.json, the same for every version of schema 8."""
    models = [name for name in archive.namelist() if name.startswith(f"{folder}/models/")]
    if models != [f"{folder}/models/model.json"]:
        raise Broken(f"it holds {len(models)} programs; one, called `model`, is read")
    if archive.getinfo(models[0]).file_size > MAX_PROGRAM_BYTES:
        raise Broken("its program is larger than 1 GiB")
    value = _json(archive, models[0])
    version = value.get("schema_version", {}).get("major") if isinstance(value, dict) else None
    if version != 8:
        raise Broken(f"its program has schema {version}; schema 8 is read (PyTorch 2.5 and newer)")
    return dict(value)


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    try:
        return json.loads(archive.read(name))
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise Broken(f"{name} cannot be read: {error}") from error


def write_checked(path: Path, copy: Path) -> dict[str, Any]:
    """Write the copy; its program. Raises Unsafe or Broken."""
    archive, folder = read(path)
    with archive, zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as written:
        value = checked(program(archive, folder))
        kept = dict.fromkeys(_payloads(archive, folder))  # tied weights are one payload
        for name in archive.namelist():
            inner = name.partition("/")[2]
            if inner.startswith("data/aotinductor/"):
                raise Unsafe(f"{inner} is compiled code; export the model without compiling it")
            if inner.startswith("data/sample_inputs/"):
                require_tensors(archive, name)
        for inner in ("archive_format", "archive_version", ".data/version", "byteorder"):
            if f"{folder}/{inner}" in archive.namelist():
                written.writestr(f"model/{inner}", archive.read(f"{folder}/{inner}"))
        for inner in kept:
            _copy(archive, f"{folder}/{inner}", written, f"model/{inner}")
        written.writestr("model/models/model.json", json.dumps(value))
        written.writestr("model/data/sample_inputs/model.pt", b"")
    return value


def _copy(archive: zipfile.ZipFile, name: str, written: zipfile.ZipFile, new: str) -> None:
    if name not in archive.namelist():
        raise Broken(f"{name} is missing")
    info = zipfile.ZipInfo(new)
    info.file_size = archive.getinfo(name).file_size
    with archive.open(name) as source, written.open(info, "w") as target:
        while chunk := source.read(1 << 20):
            target.write(chunk)


def _payloads(archive: zipfile.ZipFile, folder: str) -> Iterator[str]:
    """What the configs of weights and constants name: raw tensors, and pickles of tensors alone."""
    for kind in ("weights", "constants"):
        config = f"data/{kind}/model_{kind}_config.json"
        yield config
        for owner, payload in _json(archive, f"{folder}/{config}").get("config", {}).items():
            inner = f"data/{kind}/{payload['path_name']}"
            if not re.fullmatch(r"(weight|tensor)_\d+", payload["path_name"]):
                raise Unsafe(f"the constant {owner} is an object of another library, not a tensor ({inner})")
            if payload.get("use_pickle"):
                require_tensors(archive, f"{folder}/{inner}")
            yield inner


def require_tensors(archive: zipfile.ZipFile, name: str) -> None:
    """A file of torch.save below ``name`` whose pickle names what rebuilds tensors, and nothing else."""
    try:
        with archive.open(name) as member, zipfile.ZipFile(member) as inner:
            pickles = [entry for entry in inner.namelist() if entry.endswith(".pkl")]
            if len(pickles) != 1:
                raise Unsafe(f"{name.partition('/')[2]} holds {len(pickles)} pickles, not one")
            named = [called for entry in pickles for called in names_called(inner.read(entry))]
    except (zipfile.BadZipFile, ValueError, KeyError, EOFError) as error:
        raise Unsafe(f"{name.partition('/')[2]} is no file of torch.save that can be read: {error}") from error
    bad = sorted({called for called in named if not _TENSORS.fullmatch(called)})
    if bad:
        raise Unsafe(f"{name.partition('/')[2]} is a pickle that calls {', '.join(bad)}")


def names_called(content: bytes) -> list[str]:
    """What a pickle looks up, read from its opcodes. What torch.save writes names it in one piece (GLOBAL); a name that
    is put together on the stack could be any, so it is shown with a question mark and never taken for a known one."""
    found: list[str] = []
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name in ("GLOBAL", "INST"):
            found.append(str(argument).replace(" ", "."))
        elif opcode.name == "STACK_GLOBAL":
            found.append(".".join(texts[-2:]) + "?")
        elif opcode.name in ("EXT1", "EXT2", "EXT4"):
            found.append(f"extension {argument}?")
        elif isinstance(argument, str):
            texts.append(argument)
    return found


def checked(value: dict[str, Any]) -> dict[str, Any]:
    """The program without what nobody needs for its numbers (guards, traces). Raises Unsafe."""
    value = {**value, "guards_code": []}
    _check(value)
    return value


def _check(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _check(item)
    if not isinstance(value, dict):
        return
    if "target" in value and "metadata" in value:
        value["metadata"] = {}
    for key, item in value.items():
        if key in ("target", "as_operator") and isinstance(item, str) and not _TARGET.fullmatch(item):
            raise Unsafe(f"it calls {item}, which is no operator of torch")
        if key == "expr_str":
            _check_expression(str(item))
        if key in ("in_spec", "out_spec") and isinstance(item, str) and item:
            _check_tree(json.loads(item)[1])
        _check(item)


def _check_expression(text: str) -> None:
    place = 0
    while place < len(text):
        found = _WORDS.match(text, place)
        word = found and (found[1] if found[1] is not None else found[2])
        if found is None or (word is not None and not (_SYMBOL.fullmatch(word) or word in _FUNCTIONS)):
            raise Unsafe(f"the size {text[:200]!r} is no sum or product of sizes")
        place = found.end()


def _check_tree(tree: Any) -> None:
    if tree["type"] not in _TREES:
        raise Unsafe(f"it takes or gives a {tree['type']}; tensors, tuples, lists and dicts are read")
    for child in tree["children_spec"]:
        _check_tree(child)


def trained(value: dict[str, Any]) -> str:
    """The first operator that was exported in training mode, or nothing."""
    for node in value["graph_module"]["graph"]["nodes"]:
        given = {given["name"]: given["arg"] for given in node["inputs"]}
        training = given.get("training", given.get("train", {})).get("as_bool", False)
        chance = given.get("p", {}).get("as_float", 1.0)
        if training and (re.search(r"aten\.(\w+_)?batch_norm|aten\.instance_norm", node["target"]) or chance > 0):
            return str(node["target"]).removeprefix("torch.ops.")
    return ""
