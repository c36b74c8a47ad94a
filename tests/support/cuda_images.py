"""GPU images started here with a stub in the place of NVIDIA's driver (gpu_images.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from builder.host import Host
from builder.host.container import ALL_GPUS
from builder.host.gpu import DRIVER, HostGpu
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.probe.contents import read_contents
from builder.probe.device import plain_sentence
from builder.probe.embedded import EmbeddedRunner
from builder.probe.replay import wait_until_ready
from builder.probe.runner import Limits, ProbedImage, RunningImage
from tests.support.gpu_images import build_stub_driver
from tests.support.servers import ask

_END_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class GpuImageHere:
    image: ProbedImage
    host: Host
    stub: HostGpu

    @classmethod
    def of(cls, directory: Path, host: Host, scratch: Path) -> GpuImageHere:
        layout = Layout(directory)
        manifest = layout.manifest(layout.find(platform=Platform.of_this_machine()))
        library = (build_stub_driver(scratch) / DRIVER).resolve()
        return cls(
            image=ProbedImage(layout=layout, manifest=manifest, config=layout.config(manifest)),
            host=host,
            stub=HostGpu(devices=(), libraries=((DRIVER, library),)),
        )

    def without(self, library: str) -> GpuImageHere:
        """The image less the layer that has this library."""
        contents = read_contents(self.image.layout, self.image.manifest, self.host.store)
        (layer,) = {file.layer for path, file in contents.files.items() if path.name == library}
        layers = tuple(each for number, each in enumerate(self.image.manifest.layers) if number != layer)
        manifest: Any = SimpleNamespace(layers=layers)
        return replace(self, image=replace(self.image, manifest=manifest))

    def start(self, **environ: str) -> RunningImage:
        limits = Limits(gpus=ALL_GPUS, env=tuple(environ.items()))
        return EmbeddedRunner(self.host, gpu=self.stub).start(self.image, limits)


def ended(image: GpuImageHere, **environ: str) -> str:
    """The sentence with which it refused."""
    with closing(image.start(**environ)) as running:
        deadline = running.started + _END_SECONDS
        while running.state().running:
            assert image.host.clock.monotonic() < deadline, running.log(100)
            image.host.clock.sleep(0.02)
        assert running.state().exit_code == 1, running.log(100)
        return plain_sentence(running.log(100).splitlines())


@contextmanager
def pretended(image: GpuImageHere, **environ: str) -> Iterator[tuple[RunningImage, dict[str, str]]]:
    """The image once it is ready, and what it says of its device."""
    with closing(image.start(**environ)) as running:
        wait_until_ready(running, Limits(), image.host.clock)
        said = ask("{}:{}".format(*running.address), "GET", "/v2").body
        yield running, json.loads(said)["parameters"]
