"""``make gpu-check``: an image's own server on this machine's GPU, out of its unpacked layers, without a container.

The image's loader starts the image's Python with the image's libraries; of the machine it gets the driver alone. Each
golden case is asked as the test step asks it, and the answers are compared as there.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from builder.errors import MbuildError
from builder.host.container import ALL_GPUS
from builder.host.gpu import find_gpu
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.oci.unpack import unpack_layers
from builder.probe.cases import carried_cases
from builder.probe.contents import read_contents
from builder.probe.device import Device, Terms, device_of
from builder.probe.replay import Form, Latency, Replay, measure, replay, wait_until_ready
from builder.probe.runner import Limits, ProbedImage
from tests.gpu.tree import running_tree
from tests.support.hosts import real_host

_NO_GPU = "This machine has no NVIDIA GPU with a driver (/dev/nvidia0, libcuda.so.1), so there is nothing to check.\n"
_LIMITS = Limits(gpus=ALL_GPUS, ready_seconds=300.0)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="make gpu-check", description="Ask an image's golden cases of this GPU.")
    parser.add_argument("layout", type=Path, help="directory of an OCI image layout, as mbuild --output writes it")
    layout = Layout(parser.parse_args(arguments).layout)
    gpu = find_gpu()
    if gpu is None:
        sys.stderr.write(_NO_GPU)
        return 1
    host = real_host(Path.home() / ".cache" / "mbuild")
    manifest = layout.manifest(layout.find(platform=Platform.of_this_machine()))
    image = ProbedImage(layout=layout, manifest=manifest, config=layout.config(manifest))
    cases = carried_cases(read_contents(layout, manifest, host.store))
    try:
        with TemporaryDirectory() as directory:
            root = Path(directory, "rootfs")
            unpack_layers(layout, manifest.layers, root)
            with running_tree(image, root, gpu) as running:
                ready = wait_until_ready(running, _LIMITS, host.clock)
                replays = replay(running, cases, _LIMITS)
                latency = measure(running, cases, _LIMITS, host.clock)
                device = device_of(running, Terms(limits=_LIMITS, is_for_gpu=True), host)
    except MbuildError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(table(replays, device, ready, latency[Form.BINARY]))
    wrong = [finding.text for check in device.checks for finding in check.findings]
    sys.stderr.write("".join(f"{text}\n" for text in wrong))
    return int(bool(wrong))


def table(replays: tuple[Replay, ...], device: Device, ready: float, latency: Latency) -> str:
    """A row for each case; what holds for all of them below."""
    rows = [("CASE", "PROVIDER", "MAX DIFFERENCE")]
    rows += [(f"{each.model} {each.case}", device.provider, f"{each.worst_absolute:.3g}") for each in replays]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    memory = "unknown" if device.gpu_memory_bytes is None else f"{device.gpu_memory_bytes / 1e6:.0f} MB"
    lines.append(f"ready in {ready:.2f} s; p50 {latency.p50_ms:.2f} ms, p99 {latency.p99_ms:.2f} ms (binary)")
    lines.append(f"GPU memory in use: {memory}")
    return "".join(f"{line}\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
