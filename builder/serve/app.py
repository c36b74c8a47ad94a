"""The server's life: listen, load, be ready, drain, end.

It listens first, so that live answers while models load. Loading runs on a thread of its own, which also imports
numpy and onnxruntime. SIGTERM and SIGINT: not ready at once, the listener closes, what is in flight is answered,
exit 0.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from . import VERSION
from .around import Around
from .device import device_in, usual_threads
from .http.connection import Connections
from .http.listener import BACKLOG, CannotListen, accept_all, listen, stop_new_connections
from .limits import available, largest_body, memory
from .loading import Loaded, load
from .observe.logs import Log
from .settings import SettingError, Settings, unknown
from .starting import CannotStart

if TYPE_CHECKING:
    from .workers.acceptor import Acceptor
    from .workers.peers import Worker

_TICK_SECONDS = 0.5
_LISTEN_ON_SECONDS = 0.1
_HANDSHAKE_SECONDS = 0.05
_IDLE_ON_SECONDS = 0.5
_TRACES_SECONDS = 5.0


def serve(environ: Mapping[str, str]) -> int:
    """Serves until a signal; the process's exit code."""
    started = time.perf_counter()
    try:
        settings = Settings.from_environ(environ)
        if not settings.max_body:
            settings = replace(settings, max_body=largest_body(memory()))
        log = Log(settings.log_level)
        around = Around.of(settings, environ, log)
    except (SettingError, CannotStart) as error:
        Log("info").event("error", str(error))
        return 1
    if ignored := unknown(environ):
        log.event("warning", f"not settings of this server, ignored: {', '.join(ignored)}")
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy only moves bytes here; its threads would cost start time
    try:
        listener = listen(settings.host, settings.port)
        count = settings.processes or (1 if device_in(settings, around.survey, log).is_gpu else available())
        if count > 1:
            return _serve_in_several(count, settings, log, started, around, listener)
        return asyncio.run(Server(settings, log, started, around).run(listener))
    except (CannotListen, CannotStart) as error:
        return _refuse(log, error)


def _serve_in_several(
    count: int, settings: Settings, log: Log, started: float, around: Around, listener: socket.socket
) -> int:
    """Each worker has its share of what the container may use."""
    from .workers.several import import_all, share
    from .workers.supervisor import Supervisor

    device = device_in(settings, around.survey, log)

    def serve_one(worker: Worker) -> int:
        try:
            return asyncio.run(Server(share(settings, count, device), log, started, around, worker).run(listener))
        except CannotStart as error:
            return _refuse(log, error, worker=worker.number)

    def facts() -> dict[str, object]:
        return {"seconds": round(time.perf_counter() - started, 3)}

    address = listener.getsockname()
    log.event("info", "listening", host=settings.host, port=address[1], **around.facts())
    import_all()
    return Supervisor(count, settings.grace, log, facts).run(listener, serve_one)


def _refuse(log: Log, error: CannotListen | CannotStart, **facts: object) -> int:
    """The exit code. Who looks at a GPU image that does not start is rarely who reads its log as JSON."""
    if isinstance(error, CannotStart) and error.is_plain:
        log.plain(str(error))
    log.failure(str(error), error.__cause__ or error, **facts)
    return 1


class Server:
    """Holds the parts together on one event loop."""

    def __init__(
        self, settings: Settings, log: Log, started: float, around: Around, worker: Worker | None = None
    ) -> None:
        from .pages import pages
        from .protocol.routes import Routes

        self._settings = settings
        self._log = log
        self._started = started
        self._routes = Routes(log, settings.server_name, pages() if settings.ui else {})
        self._connections = Connections(settings, self._routes.answer)
        self._around = around
        self._connection = around.join(self._connections, log)
        self._routes.is_open = around.gate.is_open if around.gate else None
        self._routes.figures += [self._connections.families, *around.figures]
        self._worker = worker
        self._hurry: Callable[[], None] = lambda: None
        self._stopping = asyncio.Event()
        self._failure: CannotStart | None = None
        self._port = settings.port
        self._loop: asyncio.AbstractEventLoop

    async def run(self, listener: socket.socket) -> int:
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stopping.set)
        self._tick()
        self._port = listener.getsockname()[1]
        server: asyncio.Server | Acceptor
        if self._worker is None:
            self._log.event("info", "listening", host=self._settings.host, port=self._port, **self._around.facts())
            server = await self._loop.create_server(self._connection, sock=listener, backlog=BACKLOG)
        else:
            server = self._join(self._worker, listener)
        try:
            self._around.start()
            threading.Thread(target=self._load, name="load", daemon=True).start()
        except RuntimeError as error:
            what = "Cannot start a thread (this container's limit of processes)"
            self._fail(CannotStart(f"{what}: {error}."), error)
        await self._stopping.wait()
        if self._failure is not None:
            raise self._failure
        await self._drain(server, listener)
        return 0

    def _join(self, worker: Worker, listener: socket.socket) -> Acceptor:
        from .workers.acceptor import Acceptor

        def others_have_fewer() -> bool:
            return worker.others_have_fewer(len(self._connections.open) + acceptor.arriving)

        worker.join(self._routes.told, self._stopping.set)
        self._routes.gather = worker.gather
        self._routes.all_ready = lambda: worker.board.all_ready
        acceptor = Acceptor(listener, self._connection, others_have_fewer)
        return acceptor

    def _say(self, level: str, message: str, **facts: object) -> None:
        """In the log; of a worker among several it is said that it is one."""
        if self._worker is not None:
            message, facts = f"worker: {message}", {**facts, "worker": self._worker.number}
        self._log.event(level, message, **facts)

    def _tick(self) -> None:
        if self._worker is not None:
            self._worker.board.set_connections(self._worker.number, len(self._connections.open))
        self._connections.tick(self._loop.time())
        self._around.tick()
        self._loop.call_later(_TICK_SECONDS, self._tick)

    def _load(self) -> None:
        """On its own thread; ends on the loop with models or with the failure."""
        then: Callable[[], None]
        try:
            loaded = load(self._settings, self._log, self._around.survey)
        except Exception as error:
            failure = error if isinstance(error, CannotStart) else CannotStart(f"{type(error).__name__}: {error}")
            cause = failure.__cause__ or error

            def then() -> None:
                self._fail(failure, cause)
        else:

            def then() -> None:
                self._publish(loaded)

        gc.freeze()  # what is loaded stays: the collector need not walk through it again and again
        gc.enable()
        self._loop.call_soon_threadsafe(then)

    def _fail(self, failure: CannotStart, cause: BaseException) -> None:
        failure.__cause__ = cause
        self._failure = failure
        self._stopping.set()

    def _publish(self, loaded: Loaded) -> None:
        from .footprint import let_go_of_starting
        from .models.call import Call
        from .models.executor import Executor
        from .models.inference import Inference
        from .models.repository import Repository
        from .models.runs import Runs

        if self._stopping.is_set():
            return
        threads = self._settings.threads or usual_threads(loaded.device)
        try:
            runs, codec = Runs(threads, self._loop, Call.work_run), Executor("codec", 1, self._loop)
        except RuntimeError as error:
            what = f"Cannot start {threads} inference threads (MBUILD_THREADS, or this container's limit of processes)"
            self._fail(CannotStart(f"{what}: {error}."), error)
            return
        self._hurry = runs.hurry
        self._around.watch(loaded.device, self._routes.figures)
        inference = Inference(self._settings, self._log, runs, codec)
        inference.tells = self._connections.answered is not None
        self._routes.publish(
            loaded.served, inference, Repository(self._settings, self._log, self._routes, loaded.device)
        )
        facts = {
            "host": self._settings.host,
            "port": self._port,
            "server": VERSION,
            "python": ".".join(map(str, sys.version_info[:3])),
            "threads": threads,
            "max_body": self._settings.max_body,
            "seconds": round(time.perf_counter() - self._started, 3),
            **loaded.facts,
        }
        if loaded.served:
            self._say("info", "ready", **facts)
        else:
            self._say("warning", f"no models in {self._settings.models} (MBUILD_MODELS): never ready", **facts)
        if self._worker is not None and loaded.served:
            self._worker.say_ready(facts)
        if not loaded.device.is_gpu:  # the driver's code is its own business
            let_go_of_starting()

    async def _drain(self, server: asyncio.Server | Acceptor, listener: socket.socket) -> None:
        """What the kernel accepted for us is answered too, so the listener stays a moment, and so do idle clients."""
        self._routes.withdraw()
        self._hurry()
        self._connections.draining = True
        self._say("info", "stopping", connections=len(self._connections.open), grace=self._settings.grace)
        begun = self._loop.time()
        end = begun + self._settings.grace
        await asyncio.sleep(min(_LISTEN_ON_SECONDS, self._settings.grace))
        stop_new_connections(listener)
        await asyncio.sleep(min(_HANDSHAKE_SECONDS, self._settings.grace))
        accepted = accept_all(listener)
        server.close()
        for each in accepted:
            await self._loop.connect_accepted_socket(self._connection, each)
        while self._connections.open and self._loop.time() < end:
            if self._loop.time() > begun + _IDLE_ON_SECONDS:
                self._connections.close_idle()
            await asyncio.sleep(0.02)
        self._around.close(min(_TRACES_SECONDS, end - self._loop.time()))
        unanswered = len(self._connections.open)
        if self._worker is not None:
            self._worker.board.set_unanswered(self._worker.number, unanswered)
        self._say("info", "stopped", unanswered=unanswered)
