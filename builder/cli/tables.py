"""How results look to a person: one table a command, on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from builder.cli.sinks import amount

if TYPE_CHECKING:
    from builder.host.store import Store
    from builder.pipeline.result import BuildResult
    from builder.plan.image import ImagePlan
    from builder.probe.report import ProbeReport
    from builder.registry.push import PushResult


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    return grid


def print_result(result: BuildResult, *, verbose: bool) -> None:
    """The table that ends every build: what, how large, which digest, how it tested, where it is, how to run it."""
    console = _console()
    grid = _grid()
    grid.add_row("image", f"{result.name} {result.version}  ({result.locked.identifier})")
    grid.add_row("digest", str(result.image.manifest.digest))
    on_disk = amount(sum(result.unpacked.values()), "bytes")
    grid.add_row("size", f"{amount(result.size, 'bytes')} compressed, {on_disk} on disk")
    for layer in result.image.layers:
        grid.add_row(
            "", f"{layer.role!s:<8} {amount(layer.descriptor.size, 'bytes'):>9}  {layer.descriptor.digest.short}"
        )
    grid.add_row("time", _time(result))
    if result.report:
        _add_report(grid, result.report)
    else:
        grid.add_row("test", "[yellow]not run (--no-test)[/]")
    if result.pushed:
        _add_push(grid, result.pushed)
    if verbose:
        _add_choices(grid, result)
    grid.add_row("layout", str(result.layout))
    if result.loaded_as:
        grid.add_row("run", f"docker run --rm -p 8000:8000 --read-only --tmpfs /tmp {result.loaded_as}")
    console.print(grid)


def _add_choices(grid: Table, result: BuildResult) -> None:
    """What was chosen, and what the test looked at."""
    locked = result.locked
    grid.add_row("lock", str(result.lock))
    grid.add_row("base", f"{locked.base_name} {locked.base}, Python {locked.python}")
    for wheel in locked.wheels:
        grid.add_row("wheel", f"{wheel.filename} sha256:{wheel.sha256}")
    for name, version in (*locked.tools, *locked.writer):
        grid.add_row("tool", f"{name} {version}")
    for case in result.report.cases if result.report else ():
        grid.add_row("case", f"{case.model} {case.case}: largest difference {case.worst_absolute:.2g}")
    for check in result.report.checks if result.report else ():
        grid.add_row("check", f"{check.name}: {f'{len(check.findings)} findings' if check.findings else 'clean'}")


def _time(result: BuildResult) -> str:
    """The steps that took time, and how many took none."""
    worked = ", ".join(f"{step.name} {step.seconds:.1f} s" for step in result.steps if not step.cached)
    cached = sum(step.cached for step in result.steps)
    return f"{sum(step.seconds for step in result.steps):.1f} s: {worked}" + (f", {cached} cached" if cached else "")


def print_report(report: ProbeReport) -> None:
    grid = _grid()
    _add_report(grid, report)
    _console().print(grid)


def _add_report(grid: Table, report: ProbeReport) -> None:
    worst = max((case.worst_absolute for case in report.cases), default=0.0)
    grid.add_row(
        "test",
        f"[green]passed[/] ({report.runner}): {len(report.cases)} golden cases by JSON and binary, "
        f"largest difference {worst:.2g}; ready in {report.ready_seconds:.2f} s",
    )
    grid.add_row(
        "",
        f"p50 {report.latency.p50_ms:.2f} ms, p99 {report.latency.p99_ms:.2f} ms (binary); "
        f"peak memory {_memory(report)}; stopped in {report.stop_seconds:.2f} s",
    )


def _memory(report: ProbeReport) -> str:
    return "unknown" if report.peak_memory_bytes is None else amount(report.peak_memory_bytes, "bytes")


def print_push(result: PushResult) -> None:
    grid = _grid()
    _add_push(grid, result)
    _console().print(grid)


def _add_push(grid: Table, result: PushResult) -> None:
    grid.add_row("pushed", str(result.reference))
    grid.add_row(
        "",
        f"{amount(result.uploaded, 'bytes')} uploaded, {amount(result.mounted, 'bytes')} mounted, "
        f"{amount(result.skipped, 'bytes')} already there",
    )


def print_plan(plan: ImagePlan, *, verbose: bool) -> None:
    """Layers with their sizes, then how the image starts; every file with ``verbose``."""
    console = _console()
    table = Table(title=f"{dict(plan.config.labels).get('org.opencontainers.image.title', '')} for {plan.platform}")
    for heading in ("layer", "stored as", "files", "size", "key"):
        table.add_column(heading, justify="right" if heading in ("files", "size") else "left")
    if plan.base:
        table.add_row("base", "upstream", "", amount(sum(d.size for d in plan.base.layers), "bytes"), "")
    for layer in plan.layers:
        files = sum(1 for entry in layer.entries if entry.digest)
        table.add_row(
            layer.role.value, layer.compression.value, str(files), amount(layer.size, "bytes"), layer.key[:12]
        )
    console.print(table)
    console.print(f"runs {' '.join((*plan.config.entrypoint, *plan.config.cmd))} as {plan.config.user}")
    if verbose:
        for layer in plan.layers:
            for entry in layer.entries:
                console.print(f"{layer.role.value:<8} {entry.mode:04o} {entry.size:>10} {entry.path}", markup=False)


def print_cache(store: Store) -> None:
    table = Table(title=str(store.root))
    table.add_column("kind")
    table.add_column("items", justify="right")
    table.add_column("size", justify="right")
    lines = store.usage()
    for line in lines:
        table.add_row(line.kind, str(line.items), amount(line.size, "bytes"))
    table.add_section()
    table.add_row("all", str(sum(line.items for line in lines)), amount(sum(line.size for line in lines), "bytes"))
    _console().print(table)
