"""The result of a build as Markdown, for the page of a job: tables, and diagrams in Mermaid (mermaid.js.org, "Pie
chart" and "XY chart"), which GitHub and GitLab draw themselves; neither shows pictures from elsewhere there.

It reads the JSON result (builder/schemas/result.schema.json) and relies on nothing else, so a kept one will do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from builder.cli.sinks import amount
from builder.errors import MbuildError
from builder.model.measured import Measured, MeasuredParity

Result = Mapping[str, Any]

_MOST_MODELS = 200
_MOST_COMPLAINTS = 20
_MOST_SAID = 20_000
"""Characters of an error: GitHub takes 1 MiB for the summary of a step."""
_DRAWN_SECONDS = 0.05
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def summary(result: Result) -> str:
    """What was built, how it tested, what is in it and what was moved."""
    parts = [
        f"## {_text(result['name'])} {_text(result['version'])}",
        _table(("", ""), _facts(result)),
        _table(("platform", "size", "golden cases", "ready", "p50", "p99", "peak memory"), _platforms(result)),
        _table(("model", "version", "format", "parity", "largest difference", "relative"), _models(result)),
        _table(("layers", "number", "size", "on disk", "uploaded", "mounted", "reused"), _layers(result)),
        _pie(result),
        _bars(result),
    ]
    return "\n\n".join(filter(None, parts)) + "\n\n"


def fleet_summary(outcomes: Sequence[Result]) -> str:
    """What became of each of many models, and why some are not there."""
    failed = [one for one in outcomes if one["error"]]
    title = f"## {amount(len(outcomes), 'models')}" + (f", {len(failed)} failed" if failed else "")
    headings = ("model", "target", "result", "size", "uploaded", "time", "image")
    complaints = [f"### {_text(one['name'])}\n\n{_complaint(one['error'])}" for one in failed[:_MOST_COMPLAINTS]]
    return "\n\n".join((title, _table(headings, map(_outcome, outcomes[:_MOST_MODELS])), *complaints)) + "\n\n"


def _outcome(one: Result) -> Sequence[str]:
    became = "failed" if one["error"] else "unchanged" if one["unchanged"] else "built"
    image = one["reference"] or one["digest"]
    sizes = (_bytes(one["size"]), _bytes(one["uploaded"]) if one["reference"] else "") if image else ("", "")
    shown = f"`{image}`" if image else ""
    return _text(one["name"]), _text(one["target"]), became, *sizes, f"{one['seconds']:.1f} s", shown


def failure_summary(name: str, error: MbuildError) -> str:
    """Why there is no image."""
    complaint = _complaint({"code": error.code, "message": str(error), "hint": error.advice})
    return f"## {_text(name)}: no image\n\n{complaint}\n\n"


def _complaint(error: Result) -> str:
    """As it is, in a fence that nothing in it ends."""
    said = f"error ({error['code']}): {error['message']}\nhint: {error['hint']}"
    cut = said if len(said) <= _MOST_SAID else said[:_MOST_SAID] + "\n..."
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", cut)), default=0))
    return f"{fence}text\n{cut}\n{fence}"


def pushed_names(result: Result) -> tuple[str, ...]:
    """Where it was pushed, by tags, in their order."""
    first = result["push"]
    pushes = [first, *first.get("also", [])] if first else []
    return tuple(
        one["reference"].partition("@")[0] + ":" + one["tag"] if one["tag"] else one["reference"] for one in pushes
    )


def _facts(result: Result) -> Iterator[Sequence[str]]:
    image, push = result["image"], result["push"]
    yield "image", f"`{image['reference'] or image['digest']}`"
    names = [*pushed_names(result), *([image["loaded_as"] + " in Docker"] if image["loaded_as"] else [])]
    if names:
        yield "tags", ", ".join(f"`{name}`" for name in names)
    yield "for", f"`{result['identifier']}`"
    yield "size", f"{_bytes(image['size'])} compressed"
    if push:
        moved = (f"{_bytes(push[key])} {word}" for key, word in _MOVED.items())
        yield "moved", ", ".join(moved)
    yield "time", _time(result["steps"])


_MOVED = {"uploaded": "uploaded", "mounted": "mounted", "skipped": "reused"}


def _time(steps: Sequence[Result]) -> str:
    cached = sum(step["cached"] for step in steps)
    return f"{sum(step['seconds'] for step in steps):.1f} s, {cached} of {len(steps)} steps cached"


def _platforms(result: Result) -> Iterator[Sequence[str]]:
    for one in result["platforms"]:
        yield one["platform"], _bytes(one["size"]), *_tested(result, one)


def _tested(result: Result, one: Result) -> Sequence[str]:
    test = one["test"]
    if not test or "not_run" in test:
        return (f"not run: {_text(test['not_run'])}" if test else "not run", "", "", "", "")
    found = Measured.from_report(result, one["platform"])
    by = f", emulated ({_text(found.emulator)})" if found.emulator else ""
    latency, peak = found.latency_binary, found.peak_memory_bytes
    return (
        f"{len(test['cases'])} right{by}",
        f"{found.ready_seconds:.2f} s" if found.ready_seconds is not None else "",
        f"{latency.p50_ms:.2f} ms" if latency else "",
        f"{latency.p99_ms:.2f} ms" if latency else "",
        _bytes(peak) if peak is not None else "",
    )


def _models(result: Result) -> Iterator[Sequence[str]]:
    models = result["models"]
    figures = {one.name: one for one in Measured.from_report(result, "").parity}
    for model in models[:_MOST_MODELS]:
        chosen = (model["quantize"] or {}).get("chosen", "")
        kind = f"{model['format']}, {chosen}" if chosen else model["format"]
        names = map(_text, (model["name"], model["version"], kind))
        yield *names, _agreement(model["parity"]), *_distances(figures.get(model["name"]))
    if len(models) > _MOST_MODELS:
        yield f"and {len(models) - _MOST_MODELS} more", "", "", "", "", ""


def _agreement(parity: Result) -> str:
    edges = sum(edge["outcome"] == "equal" for edge in parity["edges"])
    also = f", {amount(edges, 'edges')}" if edges else ""
    return f"{amount(len(parity['cases']), 'cases')}{also} as in {_text(parity['source'])}"


def _distances(figures: MeasuredParity | None) -> Sequence[str]:
    if figures is None:
        return "", ""
    return tuple(f"{one:.2g}" if math.isfinite(one) else "inf" for one in (figures.max_absolute, figures.max_relative))


def _layers(result: Result) -> Iterator[Sequence[str]]:
    """By role, the lowest first, and what the first push moved of it."""
    moved = (result["push"] or {}).get("by_role", {})
    for role in dict.fromkeys(layer["role"] for layer in result["layers"]):
        same = [layer for layer in result["layers"] if layer["role"] == role]
        unpacked = [layer["unpacked_size"] for layer in same]
        on_disk = "" if None in unpacked else _bytes(sum(unpacked))
        ways = (moved.get(role, {}).get(way) for way in ("uploaded", "mounted", "reused"))
        yield role, str(len(same)), _bytes(_size(same)), on_disk, *("" if way is None else _bytes(way) for way in ways)


def _pie(result: Result) -> str:
    """The image's bytes by role, as they travel."""
    layers = result["layers"]
    unit, scale = next((one for one in _UNITS if _size(layers) >= one[1]), _UNITS[-1])
    sizes = {
        role: _size([layer for layer in layers if layer["role"] == role]) / scale
        for role in dict.fromkeys(layer["role"] for layer in layers)
    }
    slices = [f'    "{role}" : {size:.2f}' for role, size in sizes.items() if size >= 0.01]  # 0 is no slice there
    return _diagram("pie showData", f"    title Where the bytes are ({unit}, compressed)", *slices)


def _bars(result: Result) -> str:
    """How long the steps took; nothing where one or none took time."""
    steps = [step for step in result["steps"] if step["seconds"] >= _DRAWN_SECONDS]
    if len(steps) < 2:
        return ""
    names = ", ".join('"' + re.sub(r"[^\w .-]", "", step["name"]) + '"' for step in steps)
    seconds = ", ".join(f"{step['seconds']:.2f}" for step in steps)
    return _diagram(
        "xychart-beta",
        '    title "Where the time went"',
        f"    x-axis [{names}]",
        '    y-axis "s"',
        f"    bar [{seconds}]",
    )


def _diagram(*lines: str) -> str:
    return "\n".join(("```mermaid", *lines, "```"))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Without columns that say nothing."""
    lines = list(rows)
    told = [number for number in range(len(headings)) if any(row[number] for row in lines)]
    drawn = [[headings[number] for number in told], ["---"] * len(told), *([row[n] for n in told] for row in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in drawn)


def _size(layers: Iterable[Result]) -> int:
    return sum(layer["size"] for layer in layers)


def _bytes(number: int) -> str:
    return amount(number, "bytes")


def _text(value: str) -> str:
    """As text of a table's cell: nothing in it is markup."""
    return re.sub(r"([\\`*_{}\[\]<>|#~$@])", r"\\\1", " ".join(value.split()))
