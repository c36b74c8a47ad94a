"""A plain model: text, image files or a user's own inputs in, embeddings, labels or a user's own outputs out.

It has the face of ``engine.Model``, stands around one (its graph is served, too, as another model), and runs its steps
(``steps/``) on the inference thread, before and after the graph's own run.
"""

from __future__ import annotations

from typing import Any

from ..http.answers import Refusal
from ..protocol.codec import Signature
from ..protocol.tensors import Array, Tensor
from ..steps import InputRefused, Interface, StepBroken, StepFailed
from .engine import Model
from .model_folder import ModelFolder, ModelUnusable


class PlainModel:
    """See the module. ``run`` may be called from any thread."""

    is_graph = False
    platform, backend, file = "mbuild_plain", "python", "interface.json"

    def __init__(self, folder: ModelFolder, interface: Interface, tensors: Model) -> None:
        self.folder = folder
        self.graph_folder = tensors.folder
        self.name = folder.name
        self.version = folder.version
        self.provider = tensors.provider
        self.device = tensors.device
        self.most_rows = tensors.most_rows
        self.signature = Signature(_tensors(interface.inputs), _tensors(interface.outputs))
        self.labels = {"scores": interface.labels} if interface.labels else {}
        self.takes_images = interface.takes_images
        self._interface = interface
        self._tensors = tensors
        self.tensors_name = tensors.name

    def run(self, feeds: dict[str, Array], outputs: list[str]) -> list[Array]:
        """Raises Refusal: 400 for what does not fit, 500 where a step fails, and what the graph's own run raises."""
        try:
            found = self._interface.run(feeds, self._tensors.run)
        except InputRefused as error:
            raise Refusal(400, str(error), "OTHER") from error
        except StepFailed as error:
            refusal = Refusal(500, f"model '{self.name}': {error}; the server's log says more", "BACKEND")
            refusal.trace = error.trace
            raise refusal from error
        return [found[name] for name in outputs]


AnyModel = Model | PlainModel


def load_plain(folder: ModelFolder, graphs: dict[str, Model]) -> PlainModel:
    """Opens the steps. Raises ModelUnusable."""
    try:
        interface = Interface(folder.interface.parent)
    except StepBroken as error:
        raise ModelUnusable(f"Model '{folder.name}' cannot be loaded. {error}") from error
    tensors = graphs.get(str(interface.value.get("tensors")))
    if tensors is None:
        raise ModelUnusable(
            f"{folder.interface} is for a model {interface.value.get('tensors')!r}, which is not there."
        )
    return PlainModel(folder, interface, tensors)


def _tensors(declared: list[dict[str, Any]]) -> tuple[Tensor, ...]:
    return tuple(
        Tensor(
            name=each["name"],
            graph_name=each["name"],
            datatype=each["datatype"],
            shape=tuple(each["shape"]),
            any_bytes=each["datatype"] == "BYTES",
        )
        for each in declared
    )
