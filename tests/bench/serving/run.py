"""The parts of the bench in their order: installations, rounds of visits and loops, containers, overload."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.serving import containers, wrk
from tests.bench.serving.bars import OURS, best_peer
from tests.bench.serving.environments import ensure
from tests.bench.serving.ledger import Key, Ledger, path_of
from tests.bench.serving.models import NAMES, Model, prepared, session_loop
from tests.bench.serving.overload import DEADLINE, FACTOR, overload
from tests.bench.serving.results import Results, rate
from tests.bench.serving.servers import Bench, Server, impatient
from tests.bench.serving.turns import turns
from tests.bench.serving.visit import Failed, started, visit

PARTS = ("loop", "turns", "container", "overload")
_CONTAINER_ROUNDS = 7
_OVERLOAD_SECONDS = 6.0
_OVERLOADED = ("cnn", "minilm")
"""A client in Python can send four times what these take."""
_TURNED = ("cnn", "minilm")


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What is to be measured, after ``--only``."""

    servers: tuple[Server, ...]
    models: tuple[str, ...]
    parts: tuple[str, ...]


def chosen(words: Sequence[str], servers: Sequence[Server]) -> Choice:
    """Words of a kind narrow that kind; without any of a kind it is whole. Parts are left out where only servers or
    models were asked for."""
    names = [server.name for server in servers]
    if unknown := [word for word in words if word not in (*names, *NAMES, *PARTS)]:
        raise SystemExit(f"--only {unknown[0]}: it knows {', '.join((*names, *NAMES, *PARTS))}")
    return Choice(
        servers=tuple(each for each in servers if each.name in words or not set(words) & set(names)),
        models=tuple(name for name in NAMES if name in words or not set(words) & set(NAMES)),
        parts=tuple(part for part in PARTS if part in words or not words),
    )


def attempted(key: Key, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A server that fails is a line of the report, and stops no other."""
    sys.stderr.write(f"{' '.join(map(str, key))}: ")
    try:
        came = measure()
    except (Failed, RuntimeError, OSError) as error:
        came = {"problem": str(error)}
    sys.stderr.write(f"{_told(came)}\n")
    return came


def _told(came: dict[str, Any]) -> str:
    if "loads" not in came:
        return ", ".join(f"{name} {value}" for name, value in came.items() if name != "outputs")
    rates = (f"{load['form']} {load['connections']}: {rate(load):.0f}/s" for load in came["loads"])
    return f"start {came['start']:.2f} s, {', '.join(rates)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measuring:
    """The parts of the bench on one ledger."""

    ledger: Ledger
    bench: Bench
    choice: Choice
    models: Sequence[Model]
    seconds: int

    def measure(self, *key: str | int, by: Callable[[], dict[str, Any]]) -> None:
        self.ledger(key, lambda: attempted(key, by))

    def install(self) -> None:
        for server in self.choice.servers:
            if server.environment:
                self.measure("install", server.name, by=lambda s=server: self._install(s))

    def _install(self, server: Server) -> dict[str, Any]:
        installed = ensure(server.environment, self.bench.cache)
        return {"seconds": installed.seconds, "size": installed.size}

    def visits(self, number: int) -> None:
        """One round. Each begins with another server, so that none always follows the same one."""
        for model in self.models:
            servers = [each for each in self.choice.servers if model.name in each.models]
            first = number % max(1, len(servers))
            for server in (*servers[first:], *servers[:first]):
                self.measure("visit", number, model.name, server.name, by=lambda m=model, s=server: self._visit(m, s))

    def _visit(self, model: Model, server: Server) -> dict[str, Any]:
        launch = server.prepare(model, self.bench)
        return visit(server, launch(), model, self.seconds, self._log(model, server.name))

    def loops(self, number: int) -> None:
        for model in self.models:
            for threads in (1, 2):
                self.measure(
                    "loop", number, model.name, threads, by=lambda m=model, t=threads: _loop(m, t, self.seconds)
                )

    def turns(self) -> None:
        """With the peer that was the best one over one connection."""
        servers = {server.name: server for server in self.choice.servers}
        peers = [name for name, server in servers.items() if not (server.ours or server.is_limit)]
        for model in self.models:
            there = [peer for peer in peers if Results(self.ledger.entries).visits(model.name, peer)]
            if model.name in _TURNED and there and OURS in servers:
                best, _ = best_peer(Results(self.ledger.entries), model.name, there, 1, rate, max)
                self.measure("turns", model.name, best, by=lambda m=model, b=best: self._turns(m, servers[b]))

    def _turns(self, model: Model, peer: Server) -> dict[str, Any]:
        ours = next(server for server in self.choice.servers if server.name == OURS)
        return {"rates": turns(ours, peer, model, self.bench, self.bench.place / "logs")}

    def overloads(self) -> None:
        for model in self.models:
            if model.name in _OVERLOADED:
                self.measure("overload", model.name, by=lambda m=model: self._overload(m))

    def _overload(self, model: Model) -> dict[str, Any]:
        """Four times what it took just before over 8 connections."""
        server = impatient(DEADLINE)
        form = server.forms["binary"]
        launch = server.prepare(model, self.bench)()
        with started(launch, model, form, self._log(model, "overload")) as running:
            taken = wrk.load(running.port, form.request(model), connections=8, seconds=2).rate
            return overload(running.port, form.request(model), rate=FACTOR * taken, seconds=_OVERLOAD_SECONDS)

    def containers(self) -> None:
        model = next((each for each in self.models if each.name == "mlp"), None)
        if model is None:
            return
        if not containers.reachable():
            self.measure("container", 0, "answer", by=lambda: {"problem": "no Docker engine is reachable"})
            return
        containers.load_image(model)
        try:
            for number in range(_CONTAINER_ROUNDS):
                self.measure("container", number, "nothing", by=lambda: containers.nothing(model))
                self.measure("container", number, "answer", by=lambda: containers.answer(model))
        finally:
            containers.remove_image()

    def _log(self, model: Model, name: str) -> Path:
        return self.bench.place / "logs" / f"{name}-{model.name}.log"


def _loop(model: Model, threads: int, seconds: int) -> dict[str, Any]:
    said = session_loop(model.image, model.name, model.inputs, threads=threads, seconds=seconds)
    return {name: value for name, value in said.items() if name != "outputs"}


def measured(choice: Choice, rounds: int, seconds: int, bench: Bench) -> Results:
    """All of ``choice``; what is in the ledger already is not measured again."""
    ledger = Ledger(path_of(bench.place, seconds))
    models = [prepared(name, bench.place) for name in choice.models]
    measuring = Measuring(ledger=ledger, bench=bench, choice=choice, models=models, seconds=seconds)
    measuring.install()
    for number in range(rounds):
        measuring.visits(number)
        if "loop" in choice.parts:
            measuring.loops(number)
    if "turns" in choice.parts:
        measuring.turns()
    if "container" in choice.parts:
        measuring.containers()
    if "overload" in choice.parts:
        measuring.overloads()
    return Results(ledger.entries)
