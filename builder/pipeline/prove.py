"""The test step: runs the images that were built. It reads the layout only, never what the build knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.assemble.image import AssembledImage
from builder.assemble.load import load_into
from builder.errors import UsageError
from builder.events import Warned
from builder.host import Host
from builder.host.docker import DockerEngine
from builder.oci.platform import Platform
from builder.plan.image import BASE_LAYERS
from builder.probe.checks import Check
from builder.probe.docker import DockerRunner
from builder.probe.embedded import EmbeddedRunner
from builder.probe.report import ProbeReport, look_at, probe
from builder.probe.runner import ImageRunner, Limits, ProbedImage


class ForeignPlatform(UsageError):
    code = "foreign-platform"
    message = "the image is for {platform}, which this machine ({machine}) cannot run, so it cannot be tested here"
    hint = "test it on such a machine with `mbuild test`, or say --no-test if it is tested elsewhere"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """Of an image that this machine cannot run: why, and what its files alone show, in which nothing was wrong."""

    platform: Platform
    reason: str
    checks: tuple[Check, ...]

    @property
    def summary(self) -> str:
        return f"{self.platform} not run"

    def to_json(self) -> dict[str, object]:
        return {"not_run": self.reason, "checks": [check.to_json() for check in self.checks]}


Proof = ProbeReport | NotRun


def prove_each(images: Sequence[AssembledImage], daemon: DockerEngine | None, host: Host) -> tuple[Proof, ...]:
    """``prove`` of each image; one of several that this machine cannot run is looked at instead, with a warning.

    Raises what ``prove`` does.
    """
    return tuple(_proofs(images, daemon, host))


def _proofs(images: Sequence[AssembledImage], daemon: DockerEngine | None, host: Host) -> Iterator[Proof]:
    for image in images:
        platform, machine = image.config.platform, Platform.of_this_machine()
        if len(images) == 1 or runs_here(platform):
            yield prove(image, daemon, host)
            continue
        reason = f"this machine ({machine}) cannot run it"
        message = f"the image for {platform} was not run: {reason}; only its files were checked"
        host.events.emit(Warned(message=message, hint="test it on such a machine with `mbuild test`"))
        yield NotRun(platform=platform, reason=reason, checks=look_at(_probed(image), host))


def runs_here(platform: Platform) -> bool:
    """Whether this machine can run an image for ``platform``."""
    return platform.architecture == Platform.of_this_machine().architecture


def image_to_load(images: Sequence[AssembledImage]) -> AssembledImage | None:
    """Which of them goes into an engine: the only one, or that of this machine, if there is one."""
    ours = [image for image in images if runs_here(image.config.platform)]
    return images[0] if len(images) == 1 else next(iter(ours), None)


def prove(image: AssembledImage, daemon: DockerEngine | None, host: Host) -> ProbeReport:
    """Run the image with Docker where there is an engine, else in namespaces of our own, and replay its golden cases.

    Raises ForeignPlatform, ProbeError and its kinds, or ToolMissing where the machine can run nothing.
    """
    if not runs_here(image.config.platform):
        raise ForeignPlatform(platform=image.config.platform, machine=Platform.of_this_machine())
    runner: ImageRunner = DockerRunner(host, daemon) if daemon else EmbeddedRunner(host)
    name = load_into(daemon, image, []) if daemon else ""
    return probe(_probed(image, name), runner, (), Limits(), host)


def _probed(image: AssembledImage, engine_name: str = "") -> ProbedImage:
    return ProbedImage(
        layout=image.layout,
        manifest=image.manifest,
        config=image.config,
        engine_name=engine_name,
        base_layers=int(image.config.labels.get(BASE_LAYERS, "0")),
    )
