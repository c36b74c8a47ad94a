"""Converts models with the workers for Keras, TensorFlow and TensorFlow Lite, and holds onnxruntime's answers against
the framework's: ``python ask_tensorflow_workers.py WORKERS OUTPUT DIRECTORY ...``, one JSON object out.

All in one process inside the converters' environment, where each worker would import TensorFlow twice for each model.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

import keras_worker
import numpy as np
import onnxruntime
import tensorflow_worker
import tflite_worker
from worker_io import Failure

WORKERS = {".keras": keras_worker, ".h5": keras_worker, ".pb": tensorflow_worker, ".tflite": tflite_worker}
TYPES = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int8)": np.int8}


def ask(directory: Path, output: Path) -> dict[str, Any]:
    model = next(path for path in sorted(directory.rglob("*")) if path.suffix in WORKERS and "assets" not in path.parts
                 and path.name not in ("fingerprint.pb", "keras_metadata.pb"))  # fmt: skip
    output.mkdir(parents=True)
    request = {"model": str(model), "output": str(output), "allow_code": False, "signature": ""}
    worker = WORKERS[model.suffix]
    try:
        worker.convert(request)
    except Failure as failure:
        return {"failure": failure.kind, "message": str(failure)}
    content = (output / "model.onnx").read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    random, error = np.random.default_rng(0), 0.0
    for size in (1, 2, 7):
        inputs = {}
        for tensor in session.get_inputs():
            shape = [size if dim == "batch" else 9 if isinstance(dim, str) else dim for dim in tensor.shape]
            floats = random.random(shape) * (127 if tensor.type == "tensor(int8)" else 1)
            inputs[tensor.name] = (floats if "float" in tensor.type else floats * 20).astype(TYPES[tensor.type])
        own, names = worker.answer(request, inputs), [tensor.name for tensor in session.get_outputs()]
        for name, made in zip(names, session.run(names, inputs), strict=True):
            assert own[name].shape == made.shape and own[name].dtype == made.dtype, (name, own[name].shape, made.shape)
            error = max(error, float(np.abs(own[name].astype(np.float64) - made.astype(np.float64)).max()))
    described = [[tensor.name, tensor.shape] for tensor in (*session.get_inputs(), *session.get_outputs())]
    return {"error": error, "tensors": described, "digest": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    places = [Path(path) for path in sys.argv[3:]]
    print(json.dumps({place.name: ask(place, Path(sys.argv[2]) / place.name) for place in places}))
