"""An image that mbuild built, running as the test step runs it, for a test to ask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from builder.host import Host
from builder.oci.layout import Layout
from builder.oci.platform import Platform
from builder.probe.embedded import EmbeddedRunner
from builder.probe.replay import wait_until_ready
from builder.probe.runner import Limits, ProbedImage


@contextmanager
def served_layout(directory: Path, host: Host) -> Iterator[str]:
    """The image of the layout in namespaces of its own; its address once it is ready."""
    layout = Layout(directory)
    manifest = layout.manifest(layout.find(platform=Platform.of_this_machine()))
    image = ProbedImage(layout=layout, manifest=manifest, config=layout.config(manifest), engine_name="", base_layers=0)
    with closing(EmbeddedRunner(host).start(image, Limits())) as running:
        wait_until_ready(running, Limits(), host.clock)
        yield "{}:{}".format(*running.address)
