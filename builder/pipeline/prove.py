"""The test step: runs the image that was built. It reads the layout only, never what the build knows."""

from __future__ import annotations

from builder.assemble.image import AssembledImage
from builder.assemble.load import load_into
from builder.errors import UsageError
from builder.host import Host
from builder.host.docker import DockerEngine
from builder.oci.platform import Platform
from builder.plan.image import BASE_LAYERS
from builder.probe.docker import DockerRunner
from builder.probe.embedded import EmbeddedRunner
from builder.probe.report import ProbeReport, probe
from builder.probe.runner import ImageRunner, Limits, ProbedImage


class ForeignPlatform(UsageError):
    code = "foreign-platform"
    message = "the image is for {platform}, which this machine ({machine}) cannot run, so it cannot be tested here"
    hint = "test it on such a machine with `mbuild test`, or say --no-test if it is tested elsewhere"


def prove(image: AssembledImage, daemon: DockerEngine | None, host: Host) -> ProbeReport:
    """Run the image with Docker where there is an engine, else in namespaces of our own, and replay its golden cases.

    Raises ForeignPlatform, ProbeError and its kinds, or ToolMissing where the machine can run nothing.
    """
    machine = Platform.of_this_machine()
    if image.config.platform.architecture != machine.architecture:
        raise ForeignPlatform(platform=image.config.platform, machine=machine)
    runner: ImageRunner = DockerRunner(host, daemon) if daemon else EmbeddedRunner(host)
    name = load_into(daemon, image, []) if daemon else ""
    probed = ProbedImage(
        layout=image.layout,
        manifest=image.manifest,
        config=image.config,
        engine_name=name,
        base_layers=int(image.config.labels.get(BASE_LAYERS, "0")),
    )
    return probe(probed, runner, (), Limits(), host)
