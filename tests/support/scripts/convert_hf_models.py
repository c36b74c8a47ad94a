"""Converts model directories in one process of the converter's environment, holds onnxruntime's answers against
transformers', and converts some again from a copy elsewhere. Writes what it saw as JSON.

    PYTHON convert_hf_models.py WORKERS MODELS SCRATCH RESULT TWICE,TWICE NAME... -- REFUSED...
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime

WORKERS, MODELS, SCRATCH, RESULT = map(Path, sys.argv[1:5])
sys.path.insert(0, str(WORKERS))
import huggingface_worker  # noqa: E402
import worker_io  # noqa: E402


def request(directory, output):
    entry = next(path for path in sorted(directory.rglob("config.json")) if "model_type" in path.read_text())
    output.mkdir(parents=True)
    return {"directory": str(directory), "model": str(entry), "output": str(output), "dims": {}, "allow_code": False}


def seen(name):
    first = request(MODELS / name, SCRATCH / name)
    said = huggingface_worker.convert(first)
    session = onnxruntime.InferenceSession(SCRATCH / name / "model.onnx", providers=["CPUExecutionProvider"])
    shapes, error = [], 0.0
    for path in sorted((SCRATCH / name / "cases").iterdir()):
        with np.load(path) as members:
            inputs = {member.removeprefix("input:"): members[member] for member in members.files}
        shapes.append(next(iter(inputs.values())).shape)
        expected = huggingface_worker.answer(first, inputs)
        for value, got in zip(expected.values(), session.run(list(expected), inputs), strict=True):
            error = max(error, float(np.abs(value - got).max()))
    interface = SCRATCH / name / "interface.json"
    return {
        **said,
        "inputs": {tensor.name: tensor.shape for tensor in session.get_inputs()},
        "outputs": {tensor.name: tensor.shape for tensor in session.get_outputs()},
        "shapes": shapes,
        "error": error,
        "interface": json.loads(interface.read_text()) if interface.exists() else None,
        "plain": plain(first) if interface.exists() else None,
    }


def same(name):
    """Whether a copy elsewhere gives the same bytes."""
    copy = Path(shutil.copytree(MODELS / name, SCRATCH / "elsewhere" / name))
    huggingface_worker.convert(request(copy, SCRATCH / "again" / name))
    return digests(SCRATCH / name) == digests(SCRATCH / "again" / name)


def digests(directory):
    files = [path for path in sorted(directory.rglob("*")) if path.is_file()]
    return {str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def plain(first):
    """transformers' own answer to two texts, as the interface offers it."""
    if json.loads((Path(first["output"]) / "interface.json").read_text())["before"]["step"] != "tokenize":
        return None
    texts = np.array([b"  Ada, meet Bob! ", b""])
    outputs = huggingface_worker.answer({**first, "interface": "plain"}, {"text": texts})
    return {name: [repr(item) for item in value.tolist()] for name, value in outputs.items()}


def refusal(name):
    try:
        huggingface_worker.convert(request(MODELS / name, SCRATCH / name))
    except worker_io.Failure as failure:
        return {"kind": failure.kind, "told": str(failure)}
    return {}


names = [name for name in sys.argv[6:] if name != "--"]
begin = sys.argv.index("--") - 6
found = {name: seen(name) for name in names[:begin]} | {name: refusal(name) for name in names[begin:]}
for twice in sys.argv[5].split(","):
    found[twice]["same"] = same(twice)
RESULT.write_text(json.dumps(found))
