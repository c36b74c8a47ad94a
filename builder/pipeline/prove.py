"""The test step: runs the images that were built. It reads the layout only, never what the build knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from builder import __version__
from builder.assemble.image import AssembledImage
from builder.assemble.load import load_into
from builder.canonical import content_key
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
from builder.probe.report import ProbeReport, look_at, probe, require_passed
from builder.probe.runner import EMULATED, ImageRunner, Limits, ProbedImage

REVISION = 1
"""Of what a test looks at: a higher one when it looks at more, so that what passed before is tested again."""

_TESTS = "tests"


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


def prove_each(
    images: Sequence[AssembledImage], daemon: DockerEngine | None, host: Host, *, again: bool = False
) -> tuple[Proof, ...]:
    """``prove`` of each image, unless it passed here before, and not ``again``; one of several that this machine cannot
    run is looked at instead, with a warning.

    Raises what ``prove`` does.
    """
    return tuple(_proofs(images, daemon, host, again))


def _proofs(images: Sequence[AssembledImage], daemon: DockerEngine | None, host: Host, again: bool) -> Iterator[Proof]:
    for image in images:
        platform, machine = image.config.platform, Platform.of_this_machine()
        if len(images) == 1 or can_run(platform, host):
            yield _prove_once(image, daemon, host, again)
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
    return _prove(image, _way(image.config.platform, daemon, host), host)


def _prove_once(image: AssembledImage, daemon: DockerEngine | None, host: Host, again: bool) -> ProbeReport:
    """What an earlier test said of this image in this place, or a test. GPUs come and go while a machine is up, so that
    an image for them is always tested."""
    way = _way(image.config.platform, daemon, host)
    place = way.runner.place
    key = content_key({"image": str(image.digest), "place": place, "mbuild": __version__, "revision": REVISION})
    known = None if again or not place else host.store.record(_TESTS, key)
    if known is not None:
        told = replace(ProbeReport.from_json(known), is_remembered=True)
        require_passed(told.checks, host)
        return told
    report = _prove(image, way, host)
    if place and not report.device.is_gpu_image:
        host.store.put_record(_TESTS, key, report.to_json())
    return report


@dataclass(frozen=True, kw_only=True, slots=True)
class _Way:
    """Who runs an image here, and on which terms; ``engine`` has to have it first."""

    runner: ImageRunner
    limits: Limits
    engine: DockerEngine | None = None


def _way(platform: Platform, daemon: DockerEngine | None, host: Host) -> _Way:
    if is_native(platform):
        runner = DockerRunner(host, daemon) if daemon else EmbeddedRunner(host)
        return _Way(runner=runner, limits=Limits(), engine=daemon)
    emulator = find_emulator(platform, host)
    if emulator is None:
        raise foreign([platform])
    return _Way(runner=EmbeddedRunner(host, emulator), limits=EMULATED)


def _prove(image: AssembledImage, way: _Way, host: Host) -> ProbeReport:
    name = load_into(way.engine, image, []) if way.engine else ""
    return probe(probed(image, name), way.runner, (), way.limits, host)


def probed(image: AssembledImage, engine_name: str = "") -> ProbedImage:
    """As the probe takes it; ``engine_name`` is its name in the engine that runs it."""
    return ProbedImage(
        layout=image.layout,
        manifest=image.manifest,
        config=image.config,
        engine_name=engine_name,
        base_layers=int(image.config.labels.get(BASE_LAYERS, "0")),
    )
