"""``TritonPythonModel``: what Triton's python backend calls (python_backend, README "Usage")."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import triton_python_backend_utils as triton
from mbuild_serve.limits import available

from .batches import Answer, Feeds, Limits, Question, Refused, answer, stands_alone
from .graph import Graph, example
from .responses import failure, success

_SHARED_SECONDS = 0.0005
"""From which on handing a run to another thread costs less than it gains (as in mbuild_serve, measured)."""


class TritonPythonModel:
    """One instance of a model: a graph in onnxruntime."""

    def initialize(self, args: dict[str, str]) -> None:
        """Raises whatever keeps the model from being served; Triton then does not become ready."""
        config = json.loads(args["model_config"])
        home = Path(args["model_repository"])
        self._inputs = [each["name"] for each in config["input"]]
        self._outputs = [each["name"] for each in config["output"]]
        gpu = int(args["model_instance_device_id"]) if args["model_instance_kind"] == "GPU" else None
        self._graph = Graph(home, args["model_version"], gpu)
        feeds = example(home, self._inputs)
        self._batched = config["max_batch_size"] > 0 and self._stands_alone(home.name, feeds)
        said = {name: int(each["string_value"]) for name, each in config["parameters"].items()}
        count = said["threads"] or available()
        if count > 1 and self._seconds(feeds) > _SHARED_SECONDS:
            self._limits = Limits(rows=said["rows"], count=count, threads=ThreadPoolExecutor(count, "graph"))
        else:
            self._limits = Limits(rows=said["rows"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response for each request, in their order."""
        questions = [self._question(request) for request in requests]
        answers = answer(questions, self._graph.run, batched=self._batched, limits=self._limits)
        return [_response(question, given) for question, given in zip(questions, answers, strict=True)]

    def _stands_alone(self, name: str, feeds: Feeds) -> bool:
        """Asked of a golden case; requests that Triton puts together are else run one by one."""
        if feeds and stands_alone(self._graph.run, feeds, self._outputs):
            return True
        triton.Logger.log_warn(f"{name}: requests are run one by one, since rows may depend on each other")
        return False

    def _seconds(self, feeds: Feeds) -> float:
        """Of a run, warm; without a golden case nothing is known, and so nothing shared."""
        if not feeds:
            return 0.0
        for _ in range(2):
            started = time.perf_counter()
            self._graph.run(feeds, self._outputs)
        return time.perf_counter() - started

    def _question(self, request: Any) -> Question:
        given = ((name, triton.get_input_tensor_by_name(request, name)) for name in self._inputs)
        feeds = {name: tensor.as_numpy() for name, tensor in given if tensor is not None}
        return Question(feeds=feeds, wanted=list(request.requested_output_names()))


def _response(question: Question, given: Answer) -> Any:
    return failure(given) if isinstance(given, Refused) else success(dict(zip(question.wanted, given, strict=True)))
