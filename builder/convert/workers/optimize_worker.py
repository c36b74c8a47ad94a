"""Brings the ONNX that a converter wrote into its final form (onnx_passes.py).

Request: ``model`` (path), ``output`` (directory to write ``model.onnx`` into), ``opset``, ``ml_opset`` and
``ir_version`` (the newest that the runtime reads). Kind of failure: opset.
"""

from typing import Any

import onnx
import onnx_output
import onnx_passes
from worker_io import respond


def run(request: dict[str, Any]) -> dict[str, Any]:
    model = onnx.load(request["model"])
    nodes, weights = len(model.graph.node), len(model.graph.initializer)
    model = onnx_passes.optimize(model, request["opset"], request["ml_opset"], request["ir_version"])
    onnx_output.write_model(model, request["output"], model.producer_name)
    return {
        "nodes": [nodes, len(model.graph.node)],
        "initializers": [weights, len(model.graph.initializer)],
    }


if __name__ == "__main__":
    respond(run, ("onnx",))
