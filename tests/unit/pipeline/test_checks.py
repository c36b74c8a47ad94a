"""What is refused before a build does anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.base.lock import WheelsNotBrought
from builder.errors import UsageError
from builder.model.bounds import Quantize
from builder.oci.platform import Platform
from builder.oci.reference import Reference
from builder.pipeline import prove
from builder.pipeline.checks import (
    AttachNeedsPush,
    CacheNotUsable,
    EngineBuildsItsOwn,
    LockIsDirectory,
    NoEngines,
    NothingToLoad,
    OutputNotUsable,
    PushNeedsTag,
    TemplateUnused,
    check_build,
    check_output,
    check_plan,
)
from builder.pipeline.image import MalformedEpoch
from builder.pipeline.prove import ForeignPlatform
from builder.pipeline.quantize import QuantizedEngine
from builder.plan.spec import Attachment, BuildSpec, ConvertOptions, Delivery, Engine
from builder.probe.emulator import Emulator
from builder.registry.push import TagNeedsRegistry
from builder.render.context import ContextNotEmpty, require_empty
from builder.render.dockerfile import TemplateMissing
from tests.support.hosts import real_host

OTHER = Platform.parse("linux/arm64" if Platform.of_this_machine().architecture == "amd64" else "linux/amd64")
PLAIN = Delivery(tags=(), push=False, load=None, output=None, engine=Engine.EMBEDDED, test=True, template_dir=None)


@pytest.fixture(autouse=True)
def _without_emulators(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "find_emulator", lambda platform, host: None)


def spec_of(tmp_path: Path) -> BuildSpec:
    return BuildSpec(
        model=tmp_path / "model",
        target="cpu",
        server="http",
        platform=Platform.of_this_machine(),
        base=None,
        lock=tmp_path / "model" / "mbuild.lock",
        locked=False,
    )


def spec_for(tmp_path: Path, target: str, **options: Any) -> BuildSpec:
    amd64 = Platform.parse("linux/amd64")
    return replace(spec_of(tmp_path), target=target, platform=amd64, convert=ConvertOptions(**options))


def test_engines_are_asked_for_where_there_are_engines(tmp_path: Path) -> None:
    host = real_host(tmp_path / "cache", {})
    check_plan(spec_for(tmp_path, "tensorrt", capabilities=("8.6",)), host)
    with pytest.raises(NoEngines, match="--target cuda13 has no engines"):
        check_plan(spec_for(tmp_path, "cuda13", capabilities=("8.6",)), host)


def test_wheels_that_nobody_brought_are_told_first(tmp_path: Path) -> None:
    host = real_host(tmp_path / "cache", {"MBUILD_BASES": str(tmp_path / "bases")})
    with pytest.raises(WheelsNotBrought, match=r"needs tensorrt-cu13-libs==10\.16\.1\.11, which is not locked in"):
        check_plan(spec_for(tmp_path, "tensorrt10"), host)


@pytest.mark.parametrize("mode", [Quantize.INT8_DYNAMIC, Quantize.INT4, Quantize.AUTO])
def test_an_engine_takes_standard_operators_only(tmp_path: Path, mode: Quantize) -> None:
    host = real_host(tmp_path / "cache", {})
    with pytest.raises(QuantizedEngine, match=f"cannot be made of a model in {mode.value}"):
        check_plan(spec_for(tmp_path, "tensorrt", quantize=mode), host)
    check_plan(spec_for(tmp_path, "cpu", quantize=mode), host)
    check_plan(spec_for(tmp_path, "tensorrt", quantize=Quantize.INT8_STATIC), host)


def test_a_usual_build_is_let_through(tmp_path: Path) -> None:
    host = real_host(tmp_path / "cache", {})
    check_build(spec_of(tmp_path), PLAIN, host)
    check_build(spec_of(tmp_path), replace(PLAIN, push=True, tags=(Reference.parse("localhost:5000/a:1"),)), host)
    check_build(replace(spec_of(tmp_path), platform=OTHER), replace(PLAIN, test=False), host)


@pytest.mark.parametrize(
    ("delivery", "error"),
    [
        (replace(PLAIN, push=True), PushNeedsTag),
        (replace(PLAIN, attach=(Attachment.WEIGHTS_IMAGE,)), AttachNeedsPush),
        (replace(PLAIN, push=True, tags=(Reference.parse("digits:1"),)), TagNeedsRegistry),
        (replace(PLAIN, push=True, tags=(Reference.parse("here:5000/a"), Reference.parse("a"))), TagNeedsRegistry),
        (replace(PLAIN, template_dir=Path("nowhere")), TemplateUnused),
        (replace(PLAIN, template_dir=Path("nowhere"), engine=Engine.DOCKER), TemplateMissing),
    ],
)
def test_deliveries_that_cannot_be(tmp_path: Path, delivery: Delivery, error: type[UsageError]) -> None:
    with pytest.raises(error):
        check_build(spec_of(tmp_path), delivery, real_host(tmp_path / "cache", {}))


def test_an_image_for_another_processor_is_not_built_in_vain(tmp_path: Path) -> None:
    with pytest.raises(ForeignPlatform):
        check_build(replace(spec_of(tmp_path), platform=OTHER), PLAIN, real_host(tmp_path / "cache", {}))


def test_an_emulator_makes_it_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "find_emulator", lambda platform, host: Emulator(name="qemu"))
    check_build(replace(spec_of(tmp_path), platform=OTHER), PLAIN, real_host(tmp_path / "cache", {}))


def test_of_several_platforms_one_must_run_here(tmp_path: Path) -> None:
    host, both = real_host(tmp_path / "cache", {}), replace(spec_of(tmp_path), also=(OTHER,))
    check_build(both, replace(PLAIN, load=True), host)
    third = replace(both, platform=Platform.parse("linux/riscv64"))
    with pytest.raises(ForeignPlatform, match=f"linux/riscv64, {OTHER}"):
        check_build(third, PLAIN, host)
    with pytest.raises(NothingToLoad, match="--load was given"):
        check_build(third, replace(PLAIN, load=True, test=False), host)


@pytest.mark.parametrize("also", [(), (OTHER,)])
def test_an_engine_builds_for_its_own_platform_alone(tmp_path: Path, also: tuple[Platform, ...]) -> None:
    spec = replace(spec_of(tmp_path), also=also) if also else replace(spec_of(tmp_path), platform=OTHER)
    with pytest.raises(EngineBuildsItsOwn, match=str(OTHER)):
        check_build(spec, replace(PLAIN, engine=Engine.DOCKER, test=False), real_host(tmp_path / "cache", {}))


def test_a_directory_is_no_lock_and_is_not_to_be_removed(tmp_path: Path) -> None:
    with pytest.raises(LockIsDirectory) as caught:
        check_build(replace(spec_of(tmp_path), lock=tmp_path), PLAIN, real_host(tmp_path / "cache", {}))
    assert "remove" not in caught.value.advice


@pytest.mark.parametrize("text", ["abc", "-5", "1.5", "99999999999999"])
def test_an_epoch_that_is_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(MalformedEpoch):
        check_build(spec_of(tmp_path), PLAIN, real_host(tmp_path / "cache", {"SOURCE_DATE_EPOCH": text}))


def test_a_cache_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CacheNotUsable, match="cannot be used"):
            check_build(spec_of(tmp_path), PLAIN, real_host(place, {}))


def a_file(path: Path) -> Path:
    path.write_text("mine")
    return path


def below_a_file(path: Path) -> Path:
    return a_file(path) / "below"


def a_directory_in_use(path: Path) -> Path:
    path.mkdir()
    (path / "mine").write_text("")
    return path


@pytest.mark.parametrize("make", [a_file, below_a_file, a_directory_in_use])
def test_outputs_that_would_hurt(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path / "out")
    with pytest.raises(OutputNotUsable, match=str(path)):
        check_output(path)
    with pytest.raises(ContextNotEmpty, match=str(path)):
        require_empty(path)


def test_outputs_that_serve(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "oci-layout").write_text("{}")
    for name in ("new", "new/deep", "empty", "layout"):
        check_output(tmp_path / name)
    check_output(None)
