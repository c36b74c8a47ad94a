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
from builder.probe.emulator import OLDEST, emulator_names, find_emulator
from builder.probe.report import ProbeReport, look_at, probe
from builder.probe.runner import EMULATED, ImageRunner, Limits, ProbedImage


class ForeignPlatform(UsageError):
    code = "foreign-platform"
    message = "the image is for {platform}, which this machine ({machine}) cannot run, so it cannot be tested here"
    hint = (
        "install {emulator} (package qemu-user-static, {oldest} or newer), under which it is run then; or test it on "
        "such a machine with `mbuild test`; or say --no-test if it is tested elsewhere"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """Of an image that this machine cannot run: why, and what its files alone show, in which nothing was wrong."""

    reason: str
    checks: tuple[Check, ...]

    @property
    def summary(self) -> str:
        return "not run"

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
        if len(images) == 1 or can_run(platform, host):
            yield prove(image, daemon, host)
            continue
        reason = f"this machine ({machine}) cannot run it, and has no {emulator_names(platform)}"
        message = f"the image for {platform} was not run: {reason}; only its files were checked"
        host.events.emit(Warned(message=message, hint="install one, or test it on such a machine with `mbuild test`"))
        yield NotRun(reason=reason, checks=look_at(probed(image), host))


def is_native(platform: Platform) -> bool:
    """Whether this machine's processor runs an image for ``platform``."""
    return platform.architecture == Platform.of_this_machine().architecture


def can_run(platform: Platform, host: Host) -> bool:
    """Whether an image for ``platform`` can be run here, with an emulator if need be."""
    return is_native(platform) or find_emulator(platform, host) is not None


def foreign(platforms: Sequence[Platform]) -> ForeignPlatform:
    """The error for images none of which this machine can run."""
    return ForeignPlatform(
        platform=", ".join(map(str, platforms)),
        machine=Platform.of_this_machine(),
        emulator=emulator_names(platforms[0]),
        oldest=".".join(map(str, OLDEST)),
    )


def image_to_load(images: Sequence[AssembledImage]) -> AssembledImage | None:
    """Which of them goes into an engine: the only one, or that of this machine, if there is one."""
    ours = [image for image in images if is_native(image.config.platform)]
    return images[0] if len(images) == 1 else next(iter(ours), None)


def prove(image: AssembledImage, daemon: DockerEngine | None, host: Host) -> ProbeReport:
    """Run the image with Docker where there is an engine, else in namespaces of our own, and replay its golden cases.
    One for another processor runs in namespaces, under an emulator.

    Raises ForeignPlatform, ProbeError and its kinds, or ToolMissing where the machine can run nothing.
    """
    platform = image.config.platform
    if is_native(platform):
        runner: ImageRunner = DockerRunner(host, daemon) if daemon else EmbeddedRunner(host)
        name = load_into(daemon, image, []) if daemon else ""
        return probe(probed(image, name), runner, (), Limits(), host)
    emulator = find_emulator(platform, host)
    if emulator is None:
        raise foreign([platform])
    return probe(probed(image), EmbeddedRunner(host, emulator), (), EMULATED, host)


def probed(image: AssembledImage, engine_name: str = "") -> ProbedImage:
    """As the probe takes it; ``engine_name`` is its name in the engine that runs it."""
    return ProbedImage(
        layout=image.layout,
        manifest=image.manifest,
        config=image.config,
        engine_name=engine_name,
        base_layers=int(image.config.labels.get(BASE_LAYERS, "0")),
    )
