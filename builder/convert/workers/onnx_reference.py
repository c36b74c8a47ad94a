"""Answers golden cases with onnxruntime on the CPU: the reference that an image is compared with.

Run by ``builder.convert.worker``; imports nothing of mbuild. Request: ``model`` (path), ``in_place`` (whether
to compute with the weights where they lie), ``cases`` (list of ``inputs``, an .npz with arrays ``input:NAME``, and
``outputs``, the .npz to write with ``output:NAME``; ``optional`` where it may fail). Value: ``inputs`` and ``outputs``
of the model (name, type as onnxruntime writes it, shape), ``seconds`` for each case that must be answered, and
``unanswered``, why others were not, by number. Strings travel as bytes arrays. Kinds of failure: unsupported-opset,
unsupported-operator, missing-file, bad-model, wrong-inputs, unsupported-output, run-failed.
"""

import io
import json
import re
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort

VERSIONS = {
    "onnxruntime": onnxruntime.__version__,
    "numpy": np.__version__,
    "python": ".".join(map(str, sys.version_info[:3])),
}


class Failure(Exception):
    """A failure with one of the kinds above."""

    def __init__(self, kind: str, message: object) -> None:
        super().__init__(str(message))
        self.kind = kind


def load(path: str, *, in_place: bool = False) -> Any:
    """A session on one thread, without optimisation that depends on the machine's load; ``in_place`` without the copy
    of all weights that onnxruntime makes to have them in the order of its kernels ("prepacking")."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if in_place:
        options.add_session_config_entry("session.disable_prepacking", "1")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise Failure(load_kind(error), shortened(error).replace(f"{Path(path).parent}/", "")) from error


def load_kind(error: Exception) -> str:
    """What kept onnxruntime from loading; its exception types alone do not tell."""
    text = str(error)
    if re.search(r"[Uu]nsupported model IR version|is under development|opset [Vv]ersion|[Oo]pset \d+ ", text):
        return "unsupported-opset"
    if isinstance(error, ort.NotImplemented) or re.search(r"is not a registered function/op|No Op registered", text):
        return "unsupported-operator"
    if isinstance(error, ort.NoSuchFile) or re.search(r"[Ee]xternal data|No such file|does not exist", text):
        return "missing-file"
    return "bad-model"


def shortened(error: Exception) -> str:
    """onnxruntime's sentence without the signatures and source lines of its own code."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error))
    text = re.sub(r"^Load model from .*? failed: ?", "", text)
    head, found, rest = text.partition(") ")
    if found and re.search(r"\bconst \w", head):
        text = rest
    return re.sub(r"\S+\.(?:cc|h):\d+ \S+ ", "", text).strip()[:2000]


def feed(session: Any, path: str) -> dict[str, Any]:
    """The case's inputs, by name, strings as onnxruntime wants them."""
    with np.load(path, allow_pickle=False) as members:
        given = {name.removeprefix("input:"): members[name] for name in members.files if name.startswith("input:")}
    known = {tensor.name: tensor for tensor in session.get_inputs()}
    if set(given) != set(known):
        raise Failure("wrong-inputs", f"the case gives {sorted(given)}, the model takes {sorted(known)}")
    return {name: texts(array) if known[name].type == "tensor(string)" else array for name, array in given.items()}


def texts(array: Any) -> Any:
    """An object array of str."""
    flat = [item.decode("utf-8", "surrogateescape") if isinstance(item, bytes) else str(item) for item in array.ravel()]
    return np.array(flat, dtype=object).reshape(array.shape)


def storable(name: str, value: Any) -> Any:
    """An array that can be written without pickling."""
    if not isinstance(value, np.ndarray):
        raise Failure("unsupported-output", f"the output {name} is a {type(value).__name__}, not a tensor")
    if value.dtype == object:
        flat = [str(item).encode("utf-8", "surrogateescape") for item in value.ravel()]
        width = max([1, *map(len, flat)])
        return np.array(flat, dtype=f"S{width}").reshape(value.shape)
    return np.ascontiguousarray(value) if value.ndim else value


def answer(session: Any, case: dict[str, str]) -> float:
    """Run one case and write its outputs; the seconds that the run took."""
    inputs = feed(session, case["inputs"])
    names = [tensor.name for tensor in session.get_outputs()]
    began = time.perf_counter()
    try:
        values = session.run(names, inputs)
    except (ort.InvalidArgument, TypeError, ValueError) as error:
        raise Failure("wrong-inputs", shortened(error)) from error
    except Exception as error:
        raise Failure("run-failed", shortened(error)) from error
    seconds = time.perf_counter() - began
    with zipfile.ZipFile(case["outputs"], "w", zipfile.ZIP_STORED) as archive:
        for name, value in zip(names, values, strict=True):
            content = io.BytesIO()
            np.lib.format.write_array(content, storable(name, value), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"output:{name}.npy"), content.getvalue())
    return seconds


def attempt(session: Any, case: dict[str, str]) -> str:
    """Answer a case that may fail; why it did."""
    try:
        answer(session, case)
    except Failure as failure:
        return str(failure) or failure.kind
    return ""


def described(tensors: Any) -> list[dict[str, object]]:
    return [{"name": tensor.name, "type": tensor.type, "shape": list(tensor.shape or [])} for tensor in tensors]


def run(request: dict[str, Any]) -> dict[str, Any]:
    """The whole answer."""
    try:
        session = load(request["model"], in_place=request["in_place"])
        optional = {str(number): case for number, case in enumerate(request["cases"]) if case.get("optional")}
        reasons = {number: attempt(session, case) for number, case in optional.items()}
        return {
            "value": {
                "inputs": described(session.get_inputs()),
                "outputs": described(session.get_outputs()),
                "seconds": [answer(session, case) for case in request["cases"] if not case.get("optional")],
                "unanswered": {number: reason for number, reason in reasons.items() if reason},
            },
            "versions": VERSIONS,
        }
    except Failure as failure:
        return {"failure": {"kind": failure.kind, "message": str(failure)}, "versions": VERSIONS}


if __name__ == "__main__":
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps(run(asked)), encoding="utf-8")
