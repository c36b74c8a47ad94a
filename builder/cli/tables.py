"""How results look to a person: one table a command, on stdout.

What people copy (digests, references, paths, commands) is never broken; prose fits 80 columns. Values are text, not
markup: a path may have brackets in it.
"""

from __future__ import annotations

import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from builder.cli.sinks import amount
from builder.host.clock import rfc3339
from builder.model.face import GPU_CUDA

if TYPE_CHECKING:
    from pathlib import Path

    from builder.host.housekeeping import Collected, Item, Usage
    from builder.model.parity_report import Verification
    from builder.model.signature import TensorSpec
    from builder.pipeline.answered import AnsweredModel
    from builder.pipeline.fleet import Outcome
    from builder.pipeline.packages.pull import PullResult
    from builder.pipeline.prove import Proof
    from builder.pipeline.quantize import Quantization
    from builder.pipeline.result import BuildResult, BuiltImage
    from builder.plan.image import ImagePlan
    from builder.probe.report import ProbeReport
    from builder.registry.push import PushResult
    from builder.registry.transfer import Moved
    from builder.targets.lock import LockedTarget

_LABEL, _WIDTH, _GLUE = 8, 80, "\N{NO-BREAK SPACE}"
_MOST_NAMED = 5
Row = tuple[str, str]
"""A label and what it says; an empty label goes on with the row above."""


def print_rows(rows: Sequence[Row]) -> None:
    """Labels in bold, values as they are."""
    console = Console(highlight=False, soft_wrap=True)
    for label, value in rows:
        console.print(Text.assemble((label.ljust(_LABEL), "bold"), value) if value else "")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> None:
    """Columns under headings, those named in ``right`` flush right; as wide as they need to be where no terminal is."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in headings:
        numbers = heading in right
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=heading != headings[-1])
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 400)
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        console.out(line.rstrip(), highlight=False)


def print_result(result: BuildResult, *, verbose: bool) -> None:
    """The table that ends every build: what, how large, which digest, how it tested, where it is, how to run it."""
    rows = [("image", f"{result.name} {result.version}  ({result.identifier})"), ("digest", str(result.digest))]
    if result.index:
        rows.append(("size", f"{amount(result.size, 'bytes')} compressed, what the images share once"))
        for one in result.images:
            rows += [("", ""), ("for", f"{one.platform}  {one.image.digest}")]
            rows += (*_size_rows(one, result.models), *_proof_rows(one.proof))
        rows += [("", ""), *_prose("time", _time(result))]
    else:
        only = result.images[0]
        rows += (*_size_rows(only, result.models), *_prose("time", _time(result)), *_proof_rows(only.proof))
    for pushed in result.pushed:
        rows += _push_rows(pushed)
    if verbose:
        rows += _choices(result)
    if result.layout:
        rows.append(("layout", str(result.layout)))
    for model in result.models:
        if model.quantization:
            rows.append(("variant", _of(model, result.models) + model.quantization.summary))
    if result.loaded_as:
        gpus = "--gpus all " if any(GPU_CUDA in one.image.config.labels for one in result.images) else ""
        rows.append(("run", f"docker run --rm {gpus}-p 8000:8000 --read-only --tmpfs /tmp {result.loaded_as}"))
    elif result.layout:
        rows.append(("run", f"mbuild run {shlex.quote(str(result.layout))}"))
    print_rows(rows)
    print_variants(result.models)


def _size_rows(one: BuiltImage, models: Sequence[AnsweredModel]) -> Iterator[Row]:
    on_disk = amount(sum(layer.size for layer in one.planned.values()), "bytes")
    if len(one.planned) < len(one.image.layers):  # of an upstream base, whose layers were not unpacked
        on_disk = f"base and {on_disk}"
    yield "size", f"{amount(one.size, 'bytes')} compressed, {on_disk} on disk"
    yield from (("", line) for line in _layer_lines(one, several=len(models) > 1))


def _proof_rows(proof: Proof | None) -> Iterator[Row]:
    from builder.pipeline.prove import NotRun

    if proof is None:
        yield "test", "not run (--no-test)"
    elif isinstance(proof, NotRun):
        yield from _prose("test", f"not run: {proof.reason}; {amount(len(proof.checks), 'checks')} of its files passed")
    else:
        yield from _report_rows(proof)


def _of(one: AnsweredModel, models: Sequence[AnsweredModel]) -> str:
    """Which of several models is spoken of."""
    return f"{one.manifest.name}: " if len(models) > 1 else ""


def print_variants(models: Sequence[AnsweredModel]) -> None:
    """Every variant that was looked at, of each model for which one was asked for."""
    for one in models:
        if one.quantization:
            print_rows([("", ""), *([(one.manifest.name, "")] if len(models) > 1 else [])])
            _print_variants(one.quantization)


def _print_variants(quantization: Quantization) -> None:
    """Size, speed on this machine, error against the model as it was, metric."""
    first, rows = quantization.variants[0], []
    for one in quantization.variants:
        worst, label = one.worst, one.name + (" *" if one.name == quantization.choice.chosen else "")
        ratio = f"{first.seconds / one.seconds:.2f} x" if first.seconds and one.seconds else ""
        time = f"{one.seconds * 1e3:.2f} ms" if one.seconds else ""
        figures = ["", "", "", ""]
        if worst:
            shares = [worst.cosine, worst.agreement]
            figures = [f"{worst.error:.2g}", f"{worst.max_absolute:.2g}"]
            figures += ["" if share is None else f"{share:.4f}" for share in shares]
        metric = "" if one.metric is None else f"{one.metric:.4f}"
        size = amount(one.size, "bytes") if one.size else ""
        rows.append((label, size, time, ratio, *figures, metric, one.problem))
    numbers = ("size", "time", "speed", "error", "largest", "cosine", "agree", quantization.metric or "metric")
    print_table(("variant", *numbers, ""), rows, right=numbers)


def _prose(label: str, text: str) -> Iterator[Row]:
    for number, line in enumerate(textwrap.wrap(text, _WIDTH - _LABEL, break_long_words=False)):
        yield ("" if number else label), line.replace(_GLUE, " ")


def _choices(result: BuildResult) -> Iterator[Row]:
    """What was chosen, and what the tests looked at; what several images have in common once."""
    yield "lock", str(result.lock)
    yield from dict.fromkeys(row for one in result.images for row in _locked_rows(one.locked))
    for model in result.models:
        yield from _parity_rows(model.parity, _of(model, result.models))
    for one in result.images:
        if one.proof:
            yield from _looked_at(one.proof, f"{one.platform}: " if result.index else "")


def _looked_at(proof: Proof, of: str) -> Iterator[Row]:
    from builder.pipeline.prove import NotRun

    for case in () if isinstance(proof, NotRun) else proof.cases:
        yield "case", f"{of}{case.model} {case.case}: largest difference {case.worst_absolute:.2g}"
    for check in proof.checks:
        yield "check", f"{of}{check.name}: {f'{len(check.findings)} findings' if check.findings else 'clean'}"


def _locked_rows(locked: LockedTarget) -> Iterator[Row]:
    yield "base", f"{locked.base_name} {locked.base}, Python {locked.python}"
    for wheel in locked.wheels:
        yield "wheel", f"{wheel.filename} sha256:{wheel.sha256}"
    for name, version in (*locked.tools, *locked.writer):
        yield "tool", f"{name} {version}"


def _parity_rows(parity: Verification, of: str) -> Iterator[Row]:
    """How close the ONNX is to the source, for each output of each case and edge."""
    if parity.conversion is None:
        return
    versions = ", ".join(f"{name} {version}" for name, version in parity.versions.items())
    yield "parity", f"{of}{parity.framework} ({versions}; guard: {parity.guard}) and onnxruntime {parity.runtime}"
    for name, tensors in (
        *((case.name, case.tensors) for case in parity.conversion.cases),
        *((edge.name, edge.tensors) for edge in parity.edges),
    ):
        for tensor in tensors:
            yield "", f"{name} {tensor.name}: {tensor.closeness}"
    for edge in parity.edges:
        if edge.reason:
            yield "", f"{edge.name}: not answered by {parity.framework}: {edge.reason}"


def _time(result: BuildResult) -> str:
    """The steps that took time, and how many took none."""
    parts = [f"{step.name}{_GLUE}{step.seconds:.1f}{_GLUE}s" for step in result.steps if not step.cached]
    cached = sum(step.cached for step in result.steps)
    if cached:
        parts.append(f"{cached} cached")
    return f"{sum(step.seconds for step in result.steps):.1f} s: " + ", ".join(parts)


def print_report(report: ProbeReport) -> None:
    print_rows(list(_report_rows(report)))


def _report_rows(report: ProbeReport) -> Iterator[Row]:
    worst = max((case.worst_absolute for case in report.cases), default=0.0)
    yield "test", f"passed ({report.runner}): {amount(len(report.cases), 'golden cases')} by JSON and binary"
    if report.is_remembered:
        yield "", f"at {rfc3339(report.at)}, this image on this machine; --test-again runs it once more"
    if report.emulator:
        yield "", f"emulated ({report.emulator}): times and memory are the emulator's"
    yield (
        "",
        f"largest difference {worst:.2g}; ready in {report.ready_seconds:.2f} s; "
        f"stopped in {report.stop_seconds:.2f} s",
    )
    yield "", f"served by {report.device.provider}{_gpu_memory(report)}"
    if report.start:
        yield "", f"start in seconds: {report.start}"
    yield (
        "",
        f"p50 {report.latency.p50_ms:.2f} ms, p99 {report.latency.p99_ms:.2f} ms (binary); "
        f"peak memory {_memory(report)}",
    )


def _gpu_memory(report: ProbeReport) -> str:
    refusal, used = report.device.refusal, report.device.gpu_memory_bytes
    if refusal:
        return f"; without MBUILD_ALLOW_CPU it refused to start after {refusal.seconds:.2f} s"
    return f", {amount(used, 'bytes')} of its memory in use" if used is not None else ""


def _memory(report: ProbeReport) -> str:
    return "unknown" if report.peak_memory_bytes is None else amount(report.peak_memory_bytes, "bytes")


def print_push(result: PushResult) -> None:
    print_rows(list(_push_rows(result)))


def _push_rows(result: PushResult) -> Iterator[Row]:
    yield "pushed", str(result.reference)
    yield (
        "",
        f"uploaded {amount(result.uploaded, 'bytes')}, reused {amount(result.reused, 'bytes')}, "
        f"mounted {amount(result.mounted, 'bytes')}",
    )
    yield from _prose("", "; ".join(_movements(result.moved)))
    for one in result.attached:
        yield "with", f"{one.name}  {one.pushed.reference.digest}  (uploaded {amount(one.pushed.uploaded, 'bytes')})"


def print_pull(result: PullResult) -> None:
    print_rows(
        [
            ("pulled", str(result.reference)),
            ("", f"downloaded {amount(result.downloaded, 'bytes')}, reused {amount(result.reused, 'bytes')}"),
            ("to", str(result.path)),
        ]
    )


def _movements(moved: Sequence[Moved]) -> Iterator[str]:
    """By role what became of its bytes: ``model 1.0 MB uploaded``."""
    for role in dict.fromkeys(one.role for one in moved):
        ways = [f"{amount(one.size, 'bytes')} {one.outcome}" for one in moved if one.role == role]
        yield f"{role} {', '.join(ways)}".replace(" ", _GLUE)


def _layer_lines(image: BuiltImage, *, several: bool) -> Iterator[str]:
    """One for each layer; many of one role are one line, but for those of models."""
    for role, group in groupby(image.image.layers, key=lambda layer: layer.role):
        same = list(group)
        for part in [[layer] for layer in same] if several and role == "model" else [same]:
            size = amount(sum(layer.descriptor.size for layer in part), "bytes")
            what = part[0].descriptor.digest.short if len(part) == 1 else f"in {len(part)} layers"
            plan = image.planned.get(part[0].diff_id)
            of = f"  {_names(plan.models)}" if several and plan and plan.models else ""
            yield f"{role!s:<9} {size:>9}  {what}{of}"


def _names(models: Sequence[str]) -> str:
    return ", ".join(models[:_MOST_NAMED]) + (f" and {len(models) - _MOST_NAMED} more" * (len(models) > _MOST_NAMED))


_CHANGES_WITH = {
    "base": "the base's lock; shared by all images",
    "runtime": "the target's lock; shared by its images",
    "libraries": "the base's lock; shared by all images with this part",
    "weights": "the tensors of this group",
    "server": "mbuild's version",
    "model": "graph, model.yaml, golden cases",
}


def print_plans(plans: Sequence[ImagePlan], *, verbose: bool) -> None:
    """One after the other."""
    for number, plan in enumerate(plans):
        if number:
            print_rows([("", "")])
        _print_plan(plan, verbose=verbose)


def _print_plan(plan: ImagePlan, *, verbose: bool) -> None:
    """Layers with their sizes, then how the image starts; every file with ``verbose``."""
    rows, several = [], sum(len(layer.models) for layer in plan.layers) > 1
    if plan.base:
        size = amount(sum(d.size for d in plan.base.layers), "bytes")
        rows.append(("base", "upstream", "", size, "", "the image that --base names"))
    for layer in plan.layers:
        files = sum(1 for entry in layer.entries if entry.digest)
        size = amount(layer.size, "bytes")
        why = _CHANGES_WITH[layer.role.value] + (f" of {_names(layer.models)}" if several and layer.models else "")
        rows.append((layer.part or layer.role.value, layer.compression.value, str(files), size, layer.key[:12], why))
    title = dict(plan.config.labels).get("org.opencontainers.image.title", "")
    start = " ".join((*plan.config.entrypoint, *plan.config.cmd))
    print_rows([("image", f"{title} for {plan.platform}"), ("runs", start), ("user", plan.config.user), ("", "")])
    print_table(("layer", "stored as", "files", "size", "key", "changes with"), rows, right=("files", "size"))
    if verbose:
        console = Console(highlight=False)
        for layer in plan.layers:
            for entry in layer.entries:
                line = f"{layer.role.value:<9} {entry.mode:04o} {entry.size:>10} {entry.path}"
                console.out(line, highlight=False)


def print_fleet(outcomes: Sequence[Outcome]) -> None:
    """One line for each model, the failures in words below."""
    rows = []
    for outcome in outcomes:
        digest = outcome.digest.short if outcome.digest else "-"
        became = "failed" if outcome.error else "unchanged" if outcome.unchanged else "built"
        size = amount(outcome.size, "bytes") if outcome.digest else ""
        rows.append((outcome.name, outcome.target, became, size, f"{outcome.seconds:.1f} s", digest))
    print_table(("model", "target", "result", "size", "time", "digest"), rows, right=("size", "time"))
    for outcome in outcomes:
        if outcome.error:
            print_rows([("", ""), *_prose(outcome.name[:_LABEL], f"{outcome.error}. {outcome.error.advice}")])


def print_cache(root: Path, lines: Sequence[Usage]) -> None:
    rows = [(line.kind, str(line.items), amount(line.size, "bytes")) for line in lines]
    all_of_it = amount(sum(line.size for line in lines), "bytes")
    print_rows([("cache", str(root)), ("size", all_of_it), ("", "")])
    print_table(("kind", "items", "size"), rows, right=("items", "size"))


def print_items(items: Sequence[Item]) -> None:
    """Each thing in the cache with the day of its last use; uv's own cache counts as one."""
    rows = [(rfc3339(int(item.used))[:10], amount(item.size, "bytes"), item.kind, _called(item)) for item in items]
    print_table(("used", "size", "kind", "what"), rows, right=("size",))


def _called(item: Item) -> str:
    """A key is known by its beginning; an image by its model and what it is for."""
    return f"{item.path.parent.name}/{item.path.name}" if item.kind == "images" else item.path.stem[:12]


def print_collected(done: Collected, most: int, *, dry_run: bool) -> None:
    would = "to go" if dry_run else "removed"
    kinds: dict[str, list[int]] = {}
    for item in done.items:
        kinds.setdefault(item.kind, []).append(item.size)
    rows = [(would, f"{amount(len(done.items), 'items')}, {amount(done.freed, 'bytes')} freed")]
    rows += [("", f"{kind}: {len(sizes)}, {amount(sum(sizes), 'bytes')}") for kind, sizes in sorted(kinds.items())]
    rows.append(("left", f"{amount(done.size, 'bytes')} of {amount(most, 'bytes')} that may stay"))
    if done.size > most:
        rows.append(("", f"{amount(done.held, 'bytes')} may be in use by a run that goes on; try again after it"))
    print_rows(rows)


def tensor_text(tensor: TensorSpec) -> str:
    return f"{tensor.name} {tensor.datatype} [{', '.join(str(dim) for dim in tensor.shape)}]"
