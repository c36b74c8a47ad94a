"""Which of several images are run, and which are only looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.assemble.image import AssembledImage
from builder.events import Warned
from builder.oci.platform import Platform
from builder.pipeline import prove
from builder.pipeline.prove import ForeignPlatform, NotRun, image_to_load, prove_each
from builder.probe.emulator import Emulator
from tests.support.hosts import RecordedEvents, real_host
from tests.support.tiny_image import tiny_layout

OWN = Platform.of_this_machine()
OTHER = Platform.parse("linux/arm64" if OWN.architecture == "amd64" else "linux/amd64")


@dataclass
class Probes:
    """Stands for the probe: what it was asked to run, by whom."""

    asked: list[tuple[Platform, str]]

    def __call__(self, image: Any, runner: Any, cases: Any, limits: Any, host: Any) -> str:
        self.asked.append((image.config.platform, runner.emulator))
        return str(image.config.platform)


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
