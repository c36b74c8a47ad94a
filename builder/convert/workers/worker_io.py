"""What every converting worker shares: the request in, the answer out, golden cases as .npz.

Stands beside the workers and is imported by them; needs Python and numpy only, and nothing of mbuild. A worker defines
``convert(request) -> dict`` (writes ``output``/model.onnx) and ``answer(request, inputs) -> dict`` (the source model's
own outputs for one case), raises ``Failure`` for what a user can understand, and ends with
``main(convert, answer, packages)``.
"""

import io
import json
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from package_versions import installed, python_version


class Failure(Exception):
    """``kind`` is kebab-case: unsupported (the exporter cannot), bad-model (the file is broken), wrong-inputs."""

    def __init__(self, kind: str, message: object) -> None:
        super().__init__(str(message))
        self.kind = kind


Arrays = dict[str, Any]
Convert = Callable[[dict[str, Any]], dict[str, Any]]
Answer = Callable[[dict[str, Any], Arrays], Arrays]
Watch = Callable[[dict[str, Any], Arrays], list[Any]]
"""As ``answer``, and gives every array that was computed between the inputs and the outputs."""


def main(convert: Convert, answer: Answer, packages: Sequence[str], watch: Watch | None = None) -> None:
    """What a converting worker is run for, by the request's ``action``: convert, answer or watch. What PyTorch computes
    is seen without a ``watch`` of the worker's own."""

    def act(request: dict[str, Any]) -> dict[str, Any]:
        if request["action"] == "convert":
            return convert(request)
        return _watch(request, answer, watch) if request["action"] == "watch" else _answer_all(request, answer)

    respond(act, packages)


def respond(act: Callable[[dict[str, Any]], dict[str, Any]], packages: Sequence[str]) -> None:
    """``python WORKER.py REQUEST ANSWER``; ``packages`` are those whose versions the answer names."""
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if request.get("allow_code"):
        sys.path.append(request["directory"])  # where the classes are that a pickle names
    versions = {**dict(installed(name) for name in (*packages, "numpy")), "python": python_version()}
    try:
        said: dict[str, Any] = {"value": act(request)}
    except Failure as failure:
        said = {"failure": {"kind": failure.kind, "message": str(failure)}}
    Path(sys.argv[2]).write_text(json.dumps({**said, "versions": versions}), encoding="utf-8")


def _answer_all(request: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Answer every case; one that is ``optional`` (which the worker is told) may fail, and the reason is told by its
    number."""
    unanswered: dict[str, str] = {}
    for number, case in enumerate(request["cases"]):
        try:
            own = {**request, "optional": bool(case.get("optional"))}
            _write(case["outputs"], answer(own, _read(case["inputs"])))
        except Exception as error:
            if not case.get("optional"):
                raise
            lines = str(error).strip().splitlines() or [type(error).__name__]
            unanswered[str(number)] = lines[0][:300]
    return {"answered": len(request["cases"]) - len(unanswered), "unanswered": unanswered}


def _watch(request: dict[str, Any], answer: Answer, watch: Watch | None) -> dict[str, Any]:
    """Answer the one case and write ``watched.npz``: the floats among inputs, outputs and what lies between."""
    inputs = _read(request["cases"][0]["inputs"])
    outputs = answer(request, inputs)  # also loads what is loaded once, unwatched
    values, weights = [*inputs.values(), *outputs.values()], []
    if "torch" in sys.modules:
        import torch_watch

        with torch_watch.Watch() as seen:
            answer(request, inputs)
        values, weights = values + seen.values, seen.weights
    elif watch is not None:
        values += watch(request, inputs)
    kept = {f"value:{number}": np.asarray(value) for number, value in enumerate(values)}
    kept |= {f"weight:{number}": np.asarray(weight) for number, weight in enumerate(weights)}
    floats: dict[str, Any] = {name: array for name, array in kept.items() if array.dtype.kind == "f"}
    np.savez(Path(request["output"]) / "watched.npz", **floats)
    return {"sees_between": "torch" in sys.modules or watch is not None}


def _read(path: str) -> Arrays:
    with np.load(path, allow_pickle=False) as members:
        return {name.removeprefix("input:"): members[name] for name in members.files if name.startswith("input:")}


def _write(path: str, outputs: Arrays) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, value in outputs.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, _storable(np.asarray(value)), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"output:{name}.npy"), content.getvalue())


def _storable(array: Any) -> Any:
    """Text as bytes of a fixed width, since an object array could only be pickled."""
    if array.dtype.kind not in "OU":
        return np.ascontiguousarray(array) if array.ndim else array
    flat = [item if isinstance(item, bytes) else str(item).encode() for item in array.ravel()]
    return np.array(flat, dtype=f"S{max([1, *map(len, flat)])}").reshape(array.shape)
