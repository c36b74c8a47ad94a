"""Which of several images are run, and which are only looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from builder.assemble.image import AssembledImage
from builder.events import Warned
from builder.model.parity import CaseReport, TensorComparison
from builder.oci.platform import Platform
from builder.pipeline import prove
from builder.pipeline.prove import ForeignPlatform, NotRun, image_to_load, prove_each
from builder.probe.checks import Check, Finding
from builder.probe.device import CPU, NO_GPU, Device
from builder.probe.embedded import EmbeddedRunner
from builder.probe.emulator import Emulator
from builder.probe.replay import Latency, Replay
from builder.probe.report import ProbeReport
from builder.probe.start import StartSplit
from tests.support.hosts import RecordedEvents, real_host
from tests.support.tiny_image import tiny_layout

OWN = Platform.of_this_machine()
OTHER = Platform.parse("linux/arm64" if OWN.architecture == "amd64" else "linux/amd64")


TENSOR = TensorComparison(
    name="label", elements=7, failing=0, max_absolute=2e-7, max_relative=math.inf, worst_index=(1, 0), expected="0"
)
CASE = CaseReport(name="one", tensors=(TENSOR,))
LATENCY = Latency(requests=100, p50_ms=0.25, p99_ms=1.5)
REPORT = ProbeReport(
    runner="embedded",
    emulator="",
    device=Device(provider=CPU),
    ready_seconds=0.25,
    start=StartSplit(process=0.125, imports=0.062, sessions=0.031, warm_up=0.0),
    cases=(Replay(model="digits", case="one", json=CASE, binary=CASE),),
    latency_json=LATENCY,
    latency_binary=LATENCY,
    peak_memory_bytes=65_000_000,
    memory_limit="cgroup",
    stop_seconds=0.125,
    exit_code=0,
    checks=(Check(name="no-outbound"), Check(name="setuid", findings=(Finding(text="of the base", foreign=True),))),
    at=1_795_348_800,
)


@dataclass
class Probes:
    """Stands for the probe: what it was asked to run, by whom."""

    asked: list[tuple[Platform, str]]
    provider: str = CPU

    def __call__(self, image: Any, runner: Any, cases: Any, limits: Any, host: Any) -> ProbeReport:
        self.asked.append((image.config.platform, runner.emulator))
        return replace(REPORT, device=Device(provider=self.provider), emulator=runner.emulator)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> Probes:
    probes = Probes([])
    monkeypatch.setattr(prove, "probe", probes)
    monkeypatch.setattr(prove, "look_at", lambda image, host: ())
    monkeypatch.setattr(prove, "find_emulator", lambda platform, host: None)
    return probes


def image(place: Path, platform: Platform) -> AssembledImage:
    layout = tiny_layout(place, platform=platform)
    manifest = layout.manifest(layout.find(platform=platform))
    return AssembledImage(path=layout.path, manifest=manifest, config=layout.config(manifest), layers=())


def test_all_that_can_be_run_are_and_of_the_others_it_is_said(tmp_path: Path, probes: Probes) -> None:
    host = real_host(tmp_path / "cache", {})
    own, other = prove_each([image(tmp_path, OWN), image(tmp_path, OTHER)], None, host)
    assert probes.asked == [(OWN, "")]
    assert own is not None
    assert isinstance(other, NotRun)
    assert isinstance(host.events, RecordedEvents)
    (warning,) = [event for event in host.events.events if isinstance(event, Warned)]
    assert f"the image for {OTHER} was not run" in warning.message
    assert other.summary == "not run"
    assert "has no qemu-" in other.reason


def test_with_an_emulator_all_are_run(tmp_path: Path, probes: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "find_emulator", lambda platform, host: Emulator(name="qemu 9"))
    host = real_host(tmp_path / "cache", {})
    prove_each([image(tmp_path, OWN), image(tmp_path, OTHER)], None, host)
    assert probes.asked == [(OWN, ""), (OTHER, "qemu 9")]
    assert isinstance(host.events, RecordedEvents)
    assert not host.events.events


def test_an_only_image_that_cannot_be_run_is_an_error(tmp_path: Path, probes: Probes) -> None:
    with pytest.raises(ForeignPlatform) as caught:
        prove_each([image(tmp_path, OTHER)], None, real_host(tmp_path / "cache", {}))
    assert "qemu-user-static, 7.2 or newer" in caught.value.advice
    assert probes.asked == []


def test_an_engine_is_given_the_image_of_its_machine(tmp_path: Path) -> None:
    own, other = image(tmp_path, OWN), image(tmp_path, OTHER)
    assert image_to_load([other, own]) == own
    assert image_to_load([other]) == other
    assert image_to_load([other, other]) is None


# what passed before


def test_what_passed_here_is_told_and_not_run_again(tmp_path: Path, probes: Probes) -> None:
    host, images = real_host(tmp_path / "cache", {}), [image(tmp_path, OWN)]
    (first,), (second,) = prove_each(images, None, host), prove_each(images, None, host)
    assert len(probes.asked) == 1
    assert second == replace(REPORT, is_remembered=True)
    assert first == REPORT
    assert "at 2026-11-22T12:00:00Z" in second.summary
    assert isinstance(host.events, RecordedEvents)
    (warning,) = [event for event in host.events.events if isinstance(event, Warned)]
    assert warning.message == "the base image breaks the rule setuid: of the base"


def test_it_is_run_again_when_asked_for(tmp_path: Path, probes: Probes) -> None:
    host, images = real_host(tmp_path / "cache", {}), [image(tmp_path, OWN)]
    prove_each(images, None, host)
    assert prove_each(images, None, host, again=True) == (REPORT,)
    assert len(probes.asked) == 2


@pytest.mark.parametrize("place", ["another start of the kernel", ""])
def test_it_is_run_again_where_the_place_is_another_or_unknown(
    tmp_path: Path, probes: Probes, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    host, images = real_host(tmp_path / "cache", {}), [image(tmp_path, OWN)]
    prove_each(images, None, host)
    monkeypatch.setattr(EmbeddedRunner, "place", place)
    for _ in range(2):
        prove_each(images, None, host)
    assert len(probes.asked) == (2 if place else 3)


def test_another_image_and_one_for_gpus_are_run(tmp_path: Path, probes: Probes) -> None:
    host = real_host(tmp_path / "cache", {})
    prove_each([image(tmp_path / "a", OWN)], None, host)
    probes.provider = NO_GPU
    others = [replace(image(tmp_path / "b", OWN), manifest=image(tmp_path / "b", OTHER).manifest)]
    for _ in range(2):
        prove_each(others, None, host)
    assert len(probes.asked) == 3


def test_a_machine_says_when_it_was_started(tmp_path: Path) -> None:
    place = EmbeddedRunner(real_host(tmp_path / "cache", {})).place
    assert place == EmbeddedRunner(real_host(tmp_path / "cache", {})).place
    assert len(place.strip()) == 36
