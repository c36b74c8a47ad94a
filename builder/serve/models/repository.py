"""Loads and unloads models while the others go on serving: Triton's explicit model control, where it is asked for.

One change after the other, on a thread of its own. A model that replaces itself serves until the new one has proven
itself; one that cannot be loaded changes nothing but its own entry in the index. What leaves answers what it accepted.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from ..device import Device
from ..http.answers import Refusal, Response
from ..http.connection import Exchange
from ..observe.logs import Log
from ..settings import Settings
from ..starting import CannotStart
from . import engine, golden, inference
from .executor import Executor, Job
from .inference import Served
from .model_folder import ModelUnusable, model_names

_DRAIN_SECONDS = 0.02
_NOT_ALLOWED = (
    "explicit model load / unload is not allowed if polling is enabled (here: unless MBUILD_REPOSITORY_API is 1)"
)
"""Triton's words with --model-control-mode=none, by which its clients tell."""


class Published(Protocol):
    """Where models are answered for."""

    served: dict[str, Served]

    def add(self, served: list[Served]) -> None: ...

    def remove(self, name: str) -> None: ...


class Repository:
    """All methods run on the loop but those named ``work``."""

    def __init__(self, settings: Settings, log: Log, published: Published, device: Device) -> None:
        self._settings = settings
        self._device = device
        self._log = log
        self._published = published
        self._folder = Path(settings.models)
        self._loading: list[str] = []
        self._leaving: dict[str, Served] = {}
        self._reasons: dict[str, tuple[str, str]] = {}
        """Version and reason of models that were served, or that could not be."""
        self._executor: Executor | None = None

    def index(self, *, is_ready: bool) -> list[dict[str, str]]:
        """Every model that lies in the folder or was ever served; one that nobody asked for has a name alone."""
        names = {*self._names(), *self._published.served, *self._leaving, *self._reasons}
        return [{"name": name, **self._state(name, is_ready=is_ready)} for name in sorted(names)]

    def _state(self, name: str, *, is_ready: bool) -> dict[str, str]:
        if served := self._published.served.get(name):
            return _entry(served.model.version, "READY" if is_ready else "UNAVAILABLE")
        if name in self._loading:
            return _entry("", "LOADING")
        if leaving := self._leaving.get(name):
            return _entry(leaving.model.version, "UNLOADING")
        if name in self._reasons:
            version, reason = self._reasons[name]
            return _entry(version, "UNAVAILABLE", reason)
        return {}

    def _names(self) -> list[str]:
        try:
            return model_names(self._folder)
        except ModelUnusable:
            return []

    def knows(self, name: str) -> bool:
        """Whether a model of this name was served, or could be."""
        return name in self._reasons or name in self._leaving or name in self._names()

    def load(self, name: str, exchange: Exchange) -> None:
        """Replies once it serves, or with why it does not. Raises Refusal for what cannot be asked."""
        self._require_allowed()
        if parameters := _parameters(exchange):
            what = ", ".join(sorted(parameters))
            raise Refusal(400, f"models are loaded as they lie: the parameters {what} are not taken")
        if name not in self._names():
            raise Refusal(404, f"failed to load '{name[:200]}', failed to poll from model repository")
        made: list[Served] = []
        trouble: list[Exception] = []
        self._submit(partial(self._work_load, name, made, trouble), lambda: self._loaded(name, made, trouble, exchange))
        self._loading.append(name)

    def _work_load(self, name: str, made: list[Served], trouble: list[Exception]) -> None:
        try:
            models = engine.load_models(self._folder, (name,), self._device)
            made += [inference.opened(model, golden.warm_up(model), self._settings) for model in models]
            if self._settings.selftest:
                golden.require_right(models, self._log)
        except Exception as error:
            made.clear()
            trouble.append(error)

    def _loaded(self, name: str, made: list[Served], trouble: list[Exception], exchange: Exchange) -> None:
        self._loading.remove(name)
        for error in trouble:
            reason = (
                str(error) if isinstance(error, ModelUnusable | CannotStart) else f"{type(error).__name__}: {error}"
            )
            self._log.failure(f"load failed for model '{name}': {reason}", error, model=name)
            if name not in self._published.served:
                self._reasons[name] = ("", reason)
            exchange.reply(Refusal(400, f"load failed for model '{name}': {reason}").response())
            return
        for each in made:
            self._let_go(each.model.name)
            self._reasons.pop(each.model.name, None)
            self._log.event("info", "loaded", model=each.model.name, version=each.model.version, **each.batching_said)
        self._published.add(made)
        exchange.reply(Response())

    def unload(self, name: str, exchange: Exchange) -> None:
        """Replies as soon as nothing new is accepted for it; also for a model that is not served, as Triton does.
        Raises Refusal for what cannot be asked."""
        self._require_allowed()
        dependents = _parameters(exchange).get("unload_dependents", False)
        if type(dependents) is not bool:
            raise Refusal(400, "the parameter unload_dependents must be true or false")
        self._submit(_nothing, partial(self._unloaded, name, exchange, dependents=dependents))

    def _unloaded(self, name: str, exchange: Exchange, *, dependents: bool) -> None:
        served = self._published.served.get(name)
        inner = getattr(served.model, "tensors_name", "") if served else ""
        for each in (name, *([inner] if inner and dependents else [])):
            if self._let_go(each):
                self._published.remove(each)
                self._log.event("info", "unloaded", model=each)
        exchange.reply(Response())

    def _let_go(self, name: str) -> bool:
        """Whether it was served. It stays in memory until it has answered what it accepted."""
        served = self._published.served.get(name)
        if served is None:
            return False
        self._leaving[name] = served
        self._reasons[name] = (served.model.version, "unloaded")
        asyncio.get_running_loop().call_soon(self._drain, name, [served])
        return True

    def _drain(self, name: str, last: list[Served]) -> None:
        """``last`` has the last reference, once all is answered; so no variable here has another."""
        if last[0].metrics.pending:
            asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._drain, name, last)
            return
        if self._leaving.get(name) is last[0]:
            del self._leaving[name]
        self._submit(partial(_work_free, last), _nothing)

    def _require_allowed(self) -> None:
        if not self._settings.repository_api:
            raise Refusal(503, _NOT_ALLOWED)

    def _submit(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        if self._executor is None:
            try:
                self._executor = Executor("repository", 1, asyncio.get_running_loop())
            except RuntimeError as error:
                raise Refusal(503, f"cannot start a thread (this container's limit of processes): {error}") from error
        self._executor.submit(Job(work, done))


def _entry(version: str, state: str, reason: str = "") -> dict[str, str]:
    return {"version": version, "state": state, "reason": reason}


def _parameters(exchange: Exchange) -> dict[str, Any]:
    try:
        asked = json.loads(str(exchange.body or b"{}", "utf-8"))
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"failed to parse the request JSON buffer: {error}") from None
    parameters = asked.get("parameters", {}) if isinstance(asked, dict) else None
    if not isinstance(parameters, dict):
        raise Refusal(400, "request must be a JSON object; its field parameters must be an object")
    return parameters


def _nothing() -> None:
    return None


def _work_free(last: list[Served]) -> None:
    """Drops the last reference here, since taking a session apart takes a moment; then gives memory back."""
    last.clear()
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc keeps what was freed otherwise
    if trim is not None:
        trim(0)
