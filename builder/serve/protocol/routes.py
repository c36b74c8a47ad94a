"""Which path answers what: health, metadata, statistics, repository index, inference, metrics and the pages.

Paths follow the Open Inference Protocol v2 and Triton's extensions of it; error bodies and statuses are Triton's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING
from urllib.parse import unquote

from .. import VERSION
from ..http.answers import JSON, Refusal, Response, as_json, json_response
from ..http.connection import Exchange
from ..observe import exposition
from ..observe.exposition import Family, gauge
from ..observe.figures import model_families, queue_families
from ..observe.logs import Log
from ..observe.machine import Machine
from ..workers.sums import Told
from . import documents
from .compression import compressed

if TYPE_CHECKING:
    from ..models.inference import Inference, Served
    from ..models.plain import AnyModel
    from ..models.repository import Repository
    from ..observe.metrics import ModelMetrics

EXTENSIONS = ["classification", "model_repository", "model_configuration", "statistics", "binary_tensor_data"]
_EMPTY = Response()

Answer = Callable[[Exchange], Response | None]
_NOTHING: dict[str, Answer] = {}


class Routes:
    """Answers exchanges. Starts with no model and not ready; ``publish`` adds what was loaded."""

    def __init__(self, log: Log, name: str, pages: Mapping[str, Callable[[], Response]]) -> None:
        self._log = log
        self._name = name
        self.served: dict[str, Served] = {}
        """By name."""
        self._inference: Inference
        self._repository: Repository | None = None
        self._is_withdrawn = False
        self._waiting: Callable[[], list[tuple[ModelMetrics, int]]] = list
        self.figures: list[Callable[[], Iterable[Family]]] = [self._own_figures, Machine().families]
        self.all_ready: Callable[[], bool] = lambda: True
        """Whether the other processes behind this port are ready too."""
        self.is_open: Callable[[str], bool] | None = None
        """Which paths are answered without an API key; None where nobody needs one."""
        self.gather: Callable[[Callable[[Told], None]], None] = lambda then: then(self.told())
        """Calls back with what all processes behind this port tell."""
        self._paths: dict[str, dict[str, Answer]] = {
            "/v2": {"GET": self._server},
            "/v2/health/live": {"GET": lambda _: _EMPTY},
            "/v2/health/ready": {"GET": self._health_ready},
            "/v2/models/stats": {"GET": self._statistics},
            "/v2/repository/index": {"POST": self._index},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._starting},
            **{path: {"GET": _reading(page)} for path, page in pages.items()},
        }

    @property
    def ready(self) -> bool:
        return bool(self.served) and not self._is_withdrawn and self.all_ready()

    def publish(self, served: list[Served], inference: Inference, repository: Repository) -> None:
        """Ready from now on, if there is a model."""
        self._waiting = inference.runs.waiting
        self._inference, self._repository = inference, repository
        self.add(served)

    def add(self, served: list[Served]) -> None:
        """Answers for these models from now on; one of the same name goes."""
        for each in served:
            self._forget(each.model.name)
            self.served[each.model.name] = each
            for path in _own_paths(each.model):
                self._paths |= self._model_paths(path, each, self._inference)
            self._inference.settle(each)
        self._describe()

    def remove(self, name: str) -> None:
        """Answers for it no longer."""
        self._forget(name)
        self._describe()

    def _forget(self, name: str) -> None:
        if gone := self.served.pop(name, None):
            for path in _own_paths(gone.model):
                for each in self._model_paths(path, gone, self._inference):
                    del self._paths[each]

    def _describe(self) -> None:
        """The document is made when the first one asks for it: nobody's start waits for that."""
        models = [each.model for _, each in sorted(self.served.items())]

        @cache
        def document() -> bytes:
            from . import openapi

            document = openapi.document(models)
            return as_json(openapi.with_keys(document, self.is_open) if self.is_open else document)

        self._paths["/openapi.json"] = {"GET": lambda _: Response(200, JSON, (document(),))}

    def withdraw(self) -> None:
        """Not ready from now on; requests are still answered."""
        self._is_withdrawn = True

    def answer(self, exchange: Exchange) -> None:
        """Replies, or sees to it that someone will."""
        request = exchange.request
        try:
            answer = self._paths.get(request.target, _NOTHING).get(request.method)
            response = (answer or self._find(request.target, request.method))(exchange)
        except Refusal as refusal:
            response = refusal.response()
        except Exception as error:
            self._log.failure(f"{type(error).__name__}: {error}", error, target=request.target)
            response = Refusal(500, "the server made a mistake with this request; its log says more").response()
        if response is not None:
            self._send(exchange, response)

    def told(self) -> Told:
        """What this process says of itself."""
        families = [family for figures in self.figures for family in figures()]
        return Told(families, [each.metrics.statistics() for each in self.served.values()])

    def _find(self, target: str, method: str) -> Answer:
        methods = self._paths.get(target)
        if methods is None:
            path = unquote(target.partition("?")[0])
            methods = self._paths.get(path) or self._paths.get(path.rstrip("/")) or self._change(path)
            if methods is None:
                raise self._not_found(path)
        answer = methods.get("GET" if method == "HEAD" else method)
        if answer is None:
            allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
            raise Refusal(405, f"Method Not Allowed: this path answers {allowed}", headers=(("Allow", allowed),))
        return answer

    def _not_found(self, path: str) -> Refusal:
        parts = path.split("/")
        if path.startswith("/v2/models/") and len(parts) > 3:
            served = self.served.get(parts[3])
            if served is None and self._repository and self._repository.knows(parts[3]):
                return Refusal(404, f"Request for unknown model: '{parts[3][:200]}' has no available versions")
            if served is None and not self.ready:
                return Refusal(503, "the models are not loaded", headers=(("Retry-After", "1"),))
            if served is None:
                return Refusal(404, f"Request for unknown model: '{parts[3][:200]}' is not found")
            if len(parts) > 5 and parts[4] == "versions" and parts[5] != served.model.version:
                found = f"'{parts[3]}' version {parts[5][:40]} is not found, version {served.model.version} is served"
                return Refusal(404, f"Request for unknown model: {found}")
        return Refusal(404, f"Not Found: {path[:200]}")

    def _change(self, path: str) -> dict[str, Answer] | None:
        """Loading and unloading, of any name."""
        match path.split("/"):
            case ["", "v2", "repository", "models", name, "load"] if self._repository:
                return {"POST": partial(self._repository.load, name)}
            case ["", "v2", "repository", "models", name, "unload"] if self._repository:
                return {"POST": partial(self._repository.unload, name)}
            case ["", "v2", "repository", "models", _, "load" | "unload"]:
                return {"POST": self._starting}
        return None

    def _model_paths(self, path: str, served: Served, inference: Inference) -> dict[str, dict[str, Answer]]:
        model = served.model
        metadata = json_response(documents.metadata(model))
        return {
            path: {"GET": lambda _: metadata},
            f"{path}/ready": {"GET": lambda _: self._model_ready(model)},
            f"{path}/config": {"GET": lambda _: json_response(documents.config(served))},
            f"{path}/stats": {"GET": lambda exchange: self._statistics(exchange, model.name)},
            f"{path}/infer": {"POST": partial(inference.accept, served)},
        }

    def _server(self, _: Exchange) -> Response:
        said = next((each.model.device.said for each in self.served.values()), {})
        parameters = {"parameters": said} if said else {}
        return json_response({"name": self._name, "version": VERSION, "extensions": EXTENSIONS, **parameters})

    def _health_ready(self, _: Exchange) -> Response:
        if not self.ready:
            raise Refusal(503, "not ready")
        return _EMPTY

    def _model_ready(self, model: AnyModel) -> Response:
        if not self.ready:
            raise Refusal(503, f"model '{model.name}' is not ready")
        return json_response({"name": model.name, "ready": True})

    def _starting(self, _: Exchange) -> Response:
        raise Refusal(503, "the models are not loaded", headers=(("Retry-After", "1"),))

    def _statistics(self, exchange: Exchange, name: str = "") -> None:
        def answer(told: Told) -> Response:
            return json_response({"model_stats": [each for each in told.statistics if name in ("", each["name"])]})

        self._gathered(exchange, answer)

    def _gathered(self, exchange: Exchange, answer: Callable[[Told], Response]) -> None:
        self.gather(lambda told: self._send(exchange, answer(told)))

    @staticmethod
    def _send(exchange: Exchange, response: Response) -> None:
        """Of the protocol only inference comes compressed, as from Triton: tritonclient's asyncio client asks for gzip
        always, and reads it nowhere else."""
        accepted = exchange.request.headers.get("accept-encoding", "")
        packs = accepted and response.body and not exchange.request.target.startswith("/v2")
        exchange.reply(compressed(response, accepted) if packs else response)

    def _index(self, exchange: Exchange) -> Response:
        try:
            asked = json.loads(str(exchange.body or b"{}", "utf-8"))
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"request is not JSON: {error}") from None
        if type(asked) is not dict or type(asked.get("ready", False)) is not bool:
            raise Refusal(400, "request must be a JSON object; its field ready must be true or false")
        models = self._repository.index(is_ready=self.ready) if self._repository else []
        return json_response([each for each in models if each.get("state") == "READY" or not asked.get("ready")])

    def _metrics(self, exchange: Exchange) -> None:
        def answer(told: Told) -> Response:
            return Response(200, exposition.CONTENT_TYPE, (exposition.text(told.families).encode(),))

        self._gathered(exchange, answer)

    def _own_figures(self) -> Iterable[Family]:
        models = [each.metrics for each in self.served.values()]
        yield from model_families(models)
        yield from queue_families(models, self._waiting(), time.monotonic_ns())
        yield gauge("mbuild_ready", "1 when the server answers ready", int(self.ready))


def _own_paths(model: AnyModel) -> tuple[str, str]:
    return f"/v2/models/{model.name}", f"/v2/models/{model.name}/versions/{model.version}"


def _reading(page: Callable[[], Response]) -> Answer:
    return lambda _: page()
