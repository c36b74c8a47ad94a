"""The bench as Markdown: what it ran on, the bars, a table for each model, and what the rest cost."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.serving.bars import TITLES, bars
from tests.bench.serving.results import Results, Spread, cpu, p50, p99, rate, spread
from tests.bench.serving.visit import CONCURRENCY

_LATENCIES = ("p50 at 8, ms", "p99 at 8, ms", "p99 at 32, ms")
_COLUMNS = (
    "start, s",
    "1",
    "8",
    "32",
    *_LATENCIES,
    "CPU at 8, µs",
    "PSS, MB",
    "errors",
)
_NONE = "–"


def report(results: Results, titles: Mapping[str, str], peers: Sequence[str], seconds: int) -> str:
    """``titles`` of the servers by name, in the order of the tables."""
    parts = [_conditions(results, seconds), _bars(results, peers)]
    parts += [_model(results, model, titles) for model in results.models()]
    parts += [part for part in (_split(results), _installed(results, titles), _problems(results)) if part]
    return "\n".join(parts)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _conditions(results: Results, seconds: int) -> str:
    elsewhere = results.elsewhere()
    return (
        f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}. Peers on Python "
        f"{platform.python_version()}, ours on its image's. {results.rounds()} rounds of {seconds} s a load; medians, "
        f"± half the range of the rounds. Other programs used {elsewhere.median:.2f} cores meanwhile "
        f"(at most {elsewhere.high:.2f}).\n"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _bars(results: Results, peers: Sequence[str]) -> str:
    return table(("what", "figure", "bar", ""), [bar.cells() for bar in bars(results, peers)])


def _model(results: Results, model: str, titles: Mapping[str, str]) -> str:
    rows = [row for server, title in titles.items() for row in _rows(results, model, server, title)]
    rows += [row for threads in (1, 2) for row in _loop_row(results, model, threads)]
    return f"### {TITLES[model]}\n\nRequests a second at 1, 8 and 32 connections.\n\n" + table(("", *_COLUMNS), rows)


def _rows(results: Results, model: str, server: str, title: str) -> Iterator[list[str]]:
    visits = results.visits(model, server)
    forms = dict.fromkeys(load["form"] for visit in visits.values() for load in visit["loads"])
    for number, form in enumerate(forms):
        loads = {
            (figure, many): results.loads(model, server, form, many, figure)
            for figure in (rate, p50, p99, cpu)
            for many in CONCURRENCY
        }
        first = number == 0
        yield [
            title if first else f"{title}, {form}",
            f"{spread(results.of_visit(model, server, 'start').values()).median:.2f}" if first else _NONE,
            *(_with_share(spread(loads[rate, many].values())) for many in CONCURRENCY),
            f"{spread(loads[p50, 8].values()).median * 1e3:.2f}",
            f"{spread(loads[p99, 8].values()).median * 1e3:.2f}",
            f"{spread(loads[p99, 32].values()).median * 1e3:.2f}",
            f"{spread(loads[cpu, 8].values()).median * 1e6:.0f}",
            f"{spread(results.of_visit(model, server, 'memory').values()).median / 1e6:.0f}" if first else _NONE,
            str(results.errors(model, server)) if first else _NONE,
        ]


def _with_share(found: Spread) -> str:
    return f"{found.median:.0f} ±{found.share:.0%}"


def _loop_row(results: Results, model: str, threads: int) -> Iterator[list[str]]:
    """One figure stands for all three: there are no connections."""
    if loops := results.loops(model, threads):
        runs = _with_share(spread(entry["runs"] / entry["seconds"] for entry in loops.values()))
        spent = spread(entry["cpu_seconds"] / entry["runs"] for entry in loops.values()).median
        title = f"`session.run` alone, {threads} thread{'s' * (threads > 1)}"
        yield [title, _NONE, *[runs] * 3, *[_NONE] * 3, f"{spent * 1e6:.0f}", _NONE, _NONE]


def _split(results: Results) -> str:
    """How our server split its start in the container, by its own ready event."""
    answers, nothing = results.containers("answer", "seconds"), results.containers("nothing", "seconds")
    splits = results.containers("answer", "split")
    if not answers or not nothing:
        return ""
    parts = {name: spread(split[name] for split in splits.values()) for name in next(iter(splits.values()))}
    rows = [
        ("`docker run` of Python that ends at once", spread(nothing.values())),
        ("`docker run` to the first right answer", spread(answers.values())),
        *((_part(name), found) for name, found in parts.items()),
    ]
    cells = [(what, f"{found.median:.3f} ±{found.share:.0%}") for what, found in rows]
    return "### Start of a container, tiny MLP\n\n" + table(("", "s"), cells)


def _part(name: str) -> str:
    kind = name.removeprefix("seconds").removeprefix("_").replace("_", " ")
    return f"of that, {kind}" if kind else "of it, the server until ready"


def _installed(results: Results, titles: Mapping[str, str]) -> str:
    rows = [
        (titles[str(key[1])], f"{entry['size'] / 1e6:.0f}", f"{entry['seconds']:.0f}")
        for key, entry in results.entries.items()
        if key[0] == "install" and "problem" not in entry
    ]
    return "### What is installed\n\n" + table(("", "MB on the disk", "s to install"), rows) if rows else ""


def _problems(results: Results) -> str:
    found = results.problems()
    return "### Problems\n\n" + "".join(f"- {problem}\n" for problem in found) if found else ""
