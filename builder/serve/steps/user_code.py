"""The user's own handler.py: ``preprocess(inputs)`` and ``postprocess(outputs)`` or ``postprocess(outputs, inputs)``.

BYTES reach it as arrays of ``bytes``, all arrays are its own to change, and it may be called from several threads at
once. An exception with a ``status`` from 400 to 499 is the client's mistake, any other the code's (docs/handler.md).
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any
from weakref import WeakValueDictionary

from .arrays import Array, contents, objects
from .faults import InputRefused, StepBroken, StepFailed
from .whole_asyncio import give_asyncio_tls

_loaded: WeakValueDictionary[tuple[Path, int, int], ModuleType] = WeakValueDictionary()
"""By file, and what tells that it is another one: a model may be loaded again."""
_folders: list[str] = []
"""Of the models that brought code."""
_numbers = count()


class Preprocess:
    """``feeds``: input of the graph, name under which ``preprocess`` gives it."""

    batched = False

    def __init__(self, said: dict[str, Any], folder: Path, **_: object) -> None:
        self._code = _Code(folder / said["file"], "preprocess")
        self._feeds: dict[str, str] = said["feeds"]

    def feeds(self, inputs: dict[str, Array]) -> tuple[dict[str, Array], None]:
        given = self._code.call(_own(inputs))
        missing = [name for name in self._feeds.values() if name not in given]
        if missing:
            raise StepFailed(f"{self._code} gave no '{missing[0]}'; it gave {', '.join(map(str, given)) or 'nothing'}")
        wrong = [name for name in self._feeds.values() if not hasattr(given[name], "dtype")]
        if wrong:
            raise StepFailed(f"{self._code} gave a {type(given[wrong[0]]).__name__} for '{wrong[0]}', not an array")
        return {graph: _as_strings(given[name]) for graph, name in self._feeds.items()}, None


class Postprocess:
    """``takes``: name under which ``postprocess`` gets it, output of the graph."""

    def __init__(self, said: dict[str, Any], folder: Path) -> None:
        self._code = _Code(folder / said["file"], "postprocess")
        self._takes: dict[str, str] = said["takes"]
        self.wanted = list(dict.fromkeys(self._takes.values()))

    def outputs(self, results: dict[str, Array], inputs: dict[str, Array], notes: object) -> dict[str, Any]:
        return self._code.call(_own({name: results[graph] for name, graph in self._takes.items()}), _own(inputs))


class _Code:
    """One function of the file."""

    def __init__(self, file: Path, name: str) -> None:
        self._module = _module(file)
        function = getattr(self._module, name, None)
        if not callable(function):
            raise StepBroken(f"{file} has no function {name}.")
        self._name = f"{name} of {file.name}"
        self._file = str(file)
        self._function: Callable[..., Any] = function
        self._arguments = len(inspect.signature(function).parameters)

    def __str__(self) -> str:
        return self._name

    def call(self, *arguments: dict[str, Array]) -> dict[str, Any]:
        try:
            given = self._function(*arguments[: self._arguments])
        except MemoryError:
            raise
        except Exception as error:
            status = getattr(error, "status", None)
            if isinstance(status, int) and 400 <= status < 500:
                raise InputRefused(str(error)) from error
            raise StepFailed(f"{self._name} raised {type(error).__name__}", self._trace(error)) from error
        if not isinstance(given, dict):
            raise StepFailed(f"{self._name} gave a {type(given).__name__}, not a dict")
        return given

    def _trace(self, error: Exception) -> str:
        """From the user's first line on."""
        frames = traceback.extract_tb(error.__traceback__)
        first = next((n for n, frame in enumerate(frames) if frame.filename == self._file), 0)
        lines = traceback.StackSummary.from_list(frames[first:]).format()
        return "".join([*lines, *traceback.format_exception_only(error)]).strip()


def _module(file: Path) -> ModuleType:
    """Imported once, whichever of its functions asks; what lies beside it can be imported, too."""
    status = file.stat()
    key = (file, status.st_mtime_ns, status.st_size)
    module = _loaded.get(key)
    if module is None:
        specification = spec_from_file_location(f"handler_{next(_numbers)}", file)
        assert specification is not None, "its name ends in .py"
        assert specification.loader is not None, "it is a file"
        module = module_from_spec(specification)
        give_asyncio_tls()
        with _beside(str(file.parent)):
            try:
                specification.loader.exec_module(module)
            except Exception as error:
                raise StepBroken(f"{file} cannot be imported: {type(error).__name__}: {error}.") from error
        _loaded[key] = module
    return module


@contextmanager
def _beside(folder: str) -> Iterator[None]:
    """What lies in ``folder`` is found, and not what another model has under the same name, or this one had before."""
    if folder not in _folders:
        _folders.append(folder)
        sys.path.append(folder)
    places = tuple(f"{each}/" for each in _folders)
    hidden = {n: m for n, m in sys.modules.items() if str(getattr(m, "__file__", "")).startswith(places)}
    searched = sys.path[:]
    sys.path[:] = [each for each in searched if each not in _folders or each == folder]
    for name in hidden:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.path[:] = searched
        sys.modules.update({name: module for name, module in hidden.items() if name not in sys.modules})


def _own(arrays: dict[str, Array]) -> dict[str, Array]:
    return {
        name: objects(contents(array), array.shape)
        if array.dtype.kind in "OSU"
        else array
        if array.flags.writeable
        else array.copy()
        for name, array in arrays.items()
    }


def _as_strings(array: Array) -> Array:
    """Text for a graph that takes BYTES: onnxruntime wants Python's strings."""
    if array.dtype.kind not in "OSU":
        return array
    return objects((item if isinstance(item, str) else bytes(item).decode() for item in array.ravel()), array.shape)
