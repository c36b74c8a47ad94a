"""Times variants of a model against each other, in turns, so that what else the machine does hits all alike.

Request: ``models`` (name to path), ``cases`` (list of .npz with ``input:NAME``), ``seconds`` (about how long). Value:
for each name the median ``seconds`` of a pass over all cases, and of ``load``.
"""

import statistics
import time
from typing import Any

import onnxruntime
from onnx_reference import feed
from worker_io import respond

LEAST, MOST = 5, 40
"""Passes."""


def run(request: dict[str, Any]) -> dict[str, Any]:
    sessions, loads = {}, {}
    for name, path in request["models"].items():
        began = time.perf_counter()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        sessions[name] = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        loads[name] = time.perf_counter() - began
    feeds = [feed(next(iter(sessions.values())), case) for case in request["cases"]]
    passes: dict[str, list[float]] = {name: [] for name in sessions}
    until = time.perf_counter() + request["seconds"]
    for number in range(MOST + 1):
        for name, session in sessions.items():
            began = time.perf_counter()
            for given in feeds:
                session.run(None, given)
            if number:  # the first is to warm up
                passes[name].append(time.perf_counter() - began)
        if number >= LEAST and time.perf_counter() > until:
            break
    return {name: {"seconds": statistics.median(passes[name]), "load": loads[name]} for name in sessions}


if __name__ == "__main__":
    respond(run, ("onnxruntime",))
