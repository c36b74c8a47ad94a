"""``TritonPythonModel`` of a plain model: its steps (``mbuild_serve/steps``) around the graph, another model of Triton.

The graph is asked through Triton itself (python_backend, README "Business Logic Scripting"), so its weights are in
memory once and its requests are put together with those of other clients.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import triton_python_backend_utils as triton
from mbuild_serve.steps import Array, InputRefused, Interface, StepFailed

from .batches import Feeds, Refused
from .responses import failure, success, tensor


class TritonPythonModel:
    """One instance of a plain model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Raises StepBroken; Triton then does not become ready."""
        home = Path(args["model_repository"])
        self._interface = Interface(home / args["model_version"])
        self._inputs = [each["name"] for each in json.loads(args["model_config"])["input"]]
        self._tensors = str(self._interface.value["tensors"])
        renames = json.loads((home.parent / self._tensors / "mbuild.json").read_bytes())["renames"]
        self._feeds, self._gives = ({old: new for new, old in renames[side].items()} for side in ("inputs", "outputs"))

    def execute(self, requests: list[Any]) -> list[Any]:
        """A response for each request, in their order."""
        return [self._response(request) for request in requests]

    def _response(self, request: Any) -> Any:
        given = ((name, triton.get_input_tensor_by_name(request, name)) for name in self._inputs)
        feeds = {name: tensor.as_numpy() for name, tensor in given if tensor is not None}
        try:
            found = self._interface.run(feeds, self._graph)
        except InputRefused as error:
            return failure(Refused(str(error), is_input=True))
        except StepFailed as error:
            triton.Logger.log_error(f"{error}\n{error.trace}")
            return failure(Refused(f"{error}; the server's log says more"))
        except Refused as error:
            return failure(error)
        return success({name: found[name] for name in request.requested_output_names()})

    def _graph(self, feeds: Feeds, wanted: list[str]) -> list[Array]:
        """Feeds and outputs have the graph's own names; Triton knows those that clients see. Raises Refused."""
        names = [self._gives.get(name, name) for name in wanted]
        tensors = [tensor(self._feeds.get(name, name), array) for name, array in feeds.items()]
        asked = triton.InferenceRequest(model_name=self._tensors, requested_output_names=names, inputs=tensors)
        answer = asked.exec()
        if answer.has_error():
            error = answer.error()
            raise Refused(error.message(), is_input=error.code() == triton.TritonError.INVALID_ARG)
        return [triton.get_output_tensor_by_name(answer, name).as_numpy() for name in names]
