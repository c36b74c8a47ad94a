"""Answers golden cases of a plain model: the server's own steps (builder/serve/steps) around onnxruntime.

Run by ``builder.convert.worker``; imports nothing of mbuild. Request: ``steps`` (the directory of the steps),
``folder`` (interface.json with the files that it names), ``model`` (path of the graph), ``in_place`` and
``cases`` as for onnx_reference. Value: ``seconds`` for each case. Further kinds of failure: broken-step, wrong-inputs,
failed-step.
"""

import io
import json
import sys
import time
import zipfile
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
from onnx_reference import VERSIONS, Failure, load, ort, shortened, storable


def import_steps(directory: Path) -> Any:
    """The package of the steps, which is nowhere on this Python's path."""
    found = spec_from_file_location("steps", directory / "__init__.py", submodule_search_locations=[str(directory)])
    assert found is not None and found.loader is not None
    module = sys.modules["steps"] = module_from_spec(found)
    found.loader.exec_module(module)
    return module


def read(path: str) -> dict[str, Any]:
    """The case's inputs as the server has them: BYTES as objects."""
    with np.load(path, allow_pickle=False) as members:
        given = {name.removeprefix("input:"): members[name] for name in members.files if name.startswith("input:")}
    return {name: array.astype(object) if array.dtype.kind in "SU" else array for name, array in given.items()}


def write(path: str, outputs: dict[str, Any]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, value in outputs.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, storable(name, encoded(value)), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"output:{name}.npy"), content.getvalue())


def encoded(value: Any) -> Any:
    """Bytes of an output as they are, which need not be text."""
    if value.dtype != object:
        return value
    flat = [item.encode() if isinstance(item, str) else bytes(item) for item in value.ravel()]
    return np.array(flat, dtype=f"S{max([1, *map(len, flat)])}").reshape(value.shape)


def answer(steps: Any, interface: Any, session: Any, case: dict[str, str]) -> float:
    """Run one case and write its outputs; the seconds that the run took."""

    def graph(feeds: dict[str, Any], names: list[str]) -> list[Any]:
        try:
            return list(session.run(names, feeds))
        except (ort.InvalidArgument, TypeError, ValueError) as error:
            raise Failure("wrong-inputs", shortened(error)) from error
        except Exception as error:
            raise Failure("run-failed", shortened(error)) from error

    began = time.perf_counter()
    try:
        outputs = interface.run(read(case["inputs"]), graph)
    except steps.InputRefused as error:
        raise Failure("wrong-inputs", error) from error
    except steps.StepFailed as error:
        raise Failure("failed-step", f"{error}\n{error.trace}".strip()) from error
    seconds = time.perf_counter() - began
    write(case["outputs"], outputs)
    return seconds


def run(request: dict[str, Any]) -> dict[str, Any]:
    """The whole answer."""
    try:
        steps = import_steps(Path(request["steps"]))
        session = load(request["model"], in_place=request["in_place"])
        try:
            interface = steps.Interface(Path(request["folder"]))
        except steps.StepBroken as error:
            raise Failure("broken-step", str(error).replace(f"{request['folder']}/", "")) from error
        seconds = [answer(steps, interface, session, case) for case in request["cases"]]
        return {"value": {"seconds": seconds}, "versions": VERSIONS}
    except Failure as failure:
        return {"failure": {"kind": failure.kind, "message": str(failure)}, "versions": VERSIONS}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(run(asked)), encoding="utf-8")
