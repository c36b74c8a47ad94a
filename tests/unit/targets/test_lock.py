"""The lock: a round trip, readable drift, and refusals that name the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from builder.oci.digest import Digest
from builder.plan.wheel import LockedWheel
from builder.targets.lock import (
    LockedModel,
    LockedTarget,
    LockNotWritable,
    MalformedLock,
    QuantizeChoice,
    drift,
    read_lock,
    write_lock,
)

WHEEL = LockedWheel(
    name="numpy", version="2.5.5", filename="numpy-2.5.5-cp313-cp313-linux.whl", sha256="0" * 64, size=12
)
TARGET = LockedTarget(
    identifier="onnx-http-cpu-linux_amd64",
    model=Digest.of(b"model"),
    base_name="cpu",
    base=Digest.of(b"base"),
    python="3.13.5",
    requirements=("numpy==2.5.5",),
    wheels=(WHEEL,),
    server=Digest.of(b"server"),
    tools=(("onnxruntime", "1.31.1"),),
    writer=(("layer", "1"),),
)


def test_a_lock_is_read_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "mbuild.lock"
    write_lock(path, {TARGET.identifier: TARGET})
    assert read_lock(path) == {TARGET.identifier: TARGET}
    written = path.stat().st_mtime_ns
    write_lock(path, read_lock(path))
    assert path.stat().st_mtime_ns == written, "an unchanged lock is not touched"


def test_engines_are_kept_by_capability_and_their_drift_is_told(tmp_path: Path) -> None:
    alone = replace(TARGET, engines=(("8.6", "sha256:a"), ("12.0", "sha256:b")))
    one = LockedModel(name="m", digest=Digest.of(b"m"), engines=(("8.9", "sha256:c"),))
    several = replace(TARGET, models=(one,))
    for target in (alone, several):
        write_lock(tmp_path / "mbuild.lock", {target.identifier: target})
        assert read_lock(tmp_path / "mbuild.lock")[target.identifier] == target
    other = replace(alone, engines=(("8.6", "sha256:a"), ("12.0", "sha256:other")))
    assert drift(alone, other) == ("  engines.12.0: sha256:b -> sha256:other",)


def test_no_lock_is_an_empty_lock(tmp_path: Path) -> None:
    assert read_lock(tmp_path / "mbuild.lock") == {}


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 99}', '{"schema": 1, "targets": {"a": {}}}', "{"])
def test_a_broken_lock_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mbuild.lock"
    path.write_text(text)
    with pytest.raises(MalformedLock, match=r"mbuild\.lock"):
        read_lock(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "pillow"), ("version", "9"), ("version", "x"), ("filename", "../n.whl"), ("sha256", "00"), ("size", -1)],
)
def test_a_wheel_that_contradicts_itself_is_malformed(tmp_path: Path, field: str, value: object) -> None:
    path = tmp_path / "mbuild.lock"
    write_lock(path, {TARGET.identifier: TARGET})
    lock = json.loads(path.read_text())
    lock["targets"][TARGET.identifier]["wheels"][0][field] = value
    path.write_text(json.dumps(lock))
    with pytest.raises(MalformedLock, match=r"mbuild\.lock"):
        read_lock(path)


def test_a_digest_that_is_none_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "mbuild.lock"
    write_lock(path, {TARGET.identifier: TARGET})
    path.write_text(path.read_text().replace(str(TARGET.model), "nonsense"))
    with pytest.raises(MalformedLock, match="nonsense"):
        read_lock(path)


def test_drift_names_what_changed() -> None:
    newer = replace(WHEEL, version="2.5.6", filename="numpy-2.5.6-cp313-cp313-linux.whl")
    other = replace(TARGET, model=Digest.of(b"new"), wheels=(newer,))
    lines = "\n".join(drift(TARGET, other))
    assert "model: sha256:" in lines
    assert (
        "wheels.numpy: 2.5.5 (numpy-2.5.5-cp313-cp313-linux.whl) -> 2.5.6 (numpy-2.5.6-cp313-cp313-linux.whl)" in lines
    )
    assert drift(TARGET, TARGET) == ()


def test_a_place_that_cannot_be_written_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(LockNotWritable) as caught:
        write_lock(blocked / "mbuild.lock", {TARGET.identifier: TARGET})
    assert "--lock PATH" in caught.value.advice


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ({"env": "user", "numpy": "2"}, {"numpy": "2"}, "when the lock was written, and now in that of mbuild"),
        ({"numpy": "2"}, {"env": "user", "numpy": "2"}, "the environment of mbuild when the lock was written, and now"),
        ({"env": "user", "numpy": "2"}, {"env": "user", "numpy": "3"}, "other versions than when the lock was written"),
    ],
)
def test_drift_says_whose_environment_converted(old: dict[str, str], new: dict[str, str], said: str) -> None:
    before, after = (
        replace(TARGET, tools=tuple((f"convert.{name}", version) for name, version in tools.items()))
        for tools in (old, new)
    )
    lines = drift(before, after)
    assert said in lines[0]
    assert len(lines) == 2
    assert not drift(before, before)


def test_drift_of_pins_alone_says_nothing_of_an_environment() -> None:
    assert drift(TARGET, replace(TARGET, tools=(("onnxruntime", "2"),))) == ("  tools.onnxruntime: 1.31.1 -> 2",)


def test_several_models_are_locked_one_by_one(tmp_path: Path) -> None:
    first = LockedModel(name="a", digest=Digest.of(b"a"), quantize=QuantizeChoice(asked="auto", chosen="fp16"))
    second = LockedModel(name="b", digest=Digest.of(b"b"), tools=(("convert.numpy", "2"),))
    several = replace(TARGET, models=(first, second))
    path = tmp_path / "mbuild.lock"
    write_lock(path, {several.identifier: several})
    assert read_lock(path) == {several.identifier: several}
    assert several.choice("a") == first.quantize
    assert several.choice("b") is several.choice("c") is None
    changed = replace(several, models=(first, replace(second, digest=Digest.of(b"new"))))
    (line,) = drift(several, changed)
    assert line.startswith("  models.b.digest: sha256:")
