"""The plot: requests a second and CPU for each, by server, a column for each model; ours stand out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.bench.serving.bars import TITLES
from tests.bench.serving.results import Load, Results, cpu, rate, spread

_OURS, _PEER, _LIMIT = "#0072B2", "#C3C9D0", "#D55E00"
_INK, _QUIET = "#22272E", "#6B7480"
_MARKS = ((1, "o"), (32, "D"))
_ROOM = 1.25
"""Of the longest bar, so that its label fits behind it."""
_NEAR = 1.5
_LABEL: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 9, "color": _INK}
_TITLE: dict[str, Any] = {"loc": "left", "fontsize": 10, "color": _INK}


def plot(results: Results, titles: Mapping[str, str], ours: Sequence[str], path: Path) -> None:
    """As PNG. ``titles`` by name, the first on top."""
    from matplotlib.figure import Figure  # late: only this needs it

    models = results.models()
    names = [name for name in titles if any(results.visits(model, name) for model in models)]
    drawn = Figure(figsize=(2.2 + 3.7 * len(models), 2.2 + 0.56 * len(names)), layout="constrained", facecolor="white")
    grid = drawn.subplots(2, len(models), squeeze=False, sharey=True)
    colours = [_OURS if name in ours else _PEER for name in names]
    for column, model in enumerate(models):
        rates, costs = grid[0][column], grid[1][column]
        _bars(rates, _medians(results, model, names, rate), colours, _limit(results, model))
        _bars(costs, _medians(results, model, names, lambda load: cpu(load) * 1e6), colours)
        rates.set_title(f"{TITLES[model]}\nrequests a second: longer is better", **_TITLE)
        costs.set_title("CPU µs for each request: shorter is better", **_TITLE)
    for row in grid:
        row[0].set_yticks(range(len(names)), [titles[name] for name in names])
        for label, name in zip(row[0].get_yticklabels(), names, strict=True):
            label.set(color=_OURS if name in ours else _INK, fontweight="bold" if name in ours else "normal")
    grid[0][0].invert_yaxis()  # all share it
    _legend(drawn)
    drawn.savefig(path, dpi=110, metadata={"Software": None})


def _medians(
    results: Results, model: str, names: Sequence[str], figure: Callable[[Load], float]
) -> dict[int, list[float]]:
    """By connections, for each server; NaN where there is none."""
    found = {many: [results.loads(model, name, "json", many, figure) for name in names] for many in (1, 8, 32)}
    return {
        many: [spread(rounds.values()).median if rounds else math.nan for rounds in row] for many, row in found.items()
    }


def _bars(axes: Any, values: Mapping[int, Sequence[float]], colours: Sequence[str], limit: float = math.nan) -> None:
    """A bar for 8 connections with its figure in a column at the edge, marks for 1 and 32; a line at the limit where it
    is near."""
    places = range(len(colours))
    most = max((value for row in values.values() for value in row if not math.isnan(value)), default=1.0)
    axes.barh(places, values[8], color=colours, height=0.66)
    for many, mark in _MARKS:
        axes.plot(values[many], places, mark, color=_INK, markersize=4.5, markerfacecolor="white", zorder=3)
    if limit < most * _NEAR:
        most = max(most, limit)
        axes.axvline(limit, color=_LIMIT, linewidth=1.4, linestyle=(0, (4, 2)))
    axes.set_xlim(0, most * _ROOM)
    for place, value in enumerate(values[8]):
        if not math.isnan(value):
            axes.text(1.0, place, _short(value), transform=axes.get_yaxis_transform(), **_LABEL)
    axes.tick_params(length=0, labelsize=8, labelcolor=_QUIET, axis="x")
    axes.tick_params(length=0, labelsize=10, axis="y")
    axes.xaxis.set_major_locator(_few_ticks())
    axes.grid(axis="x", color="#E8EBEE", linewidth=0.8)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _few_ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def _short(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def _limit(results: Results, model: str) -> float:
    """Runs a second of ``session.run`` alone on two threads."""
    loops = results.loops(model, 2).values()
    return spread(entry["runs"] / entry["seconds"] for entry in loops).median if loops else math.nan


def _legend(drawn: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    look: dict[str, Any] = {"linestyle": "", "color": _INK, "markerfacecolor": "white", "markersize": 5}
    marks = [Line2D([], [], marker=mark, label=f"with {many}", **look) for many, mark in _MARKS]
    limit = Line2D([], [], color=_LIMIT, linestyle=(0, (4, 2)), label="session.run alone, 2 threads")
    bars = [Patch(color=_OURS, label="mbuild, with 8 connections"), Patch(color=_PEER, label="peers, with 8")]
    drawn.legend(handles=[*bars, *marks, limit], loc="outside lower center", ncols=5, frameon=False, fontsize=9)
