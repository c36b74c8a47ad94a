"""What is typed behind `mbuild run`."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from builder.cli.run_options import (
    Given,
    MalformedOption,
    UnsetVariable,
    address,
    gpu_count,
    mount,
    server_name,
    variable,
    with_given,
)
from builder.host.container import ALL_GPUS
from builder.probe.runner import Limits


def test_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "a=b")
    assert variable("NAME=VALUE=1") == ("NAME", "VALUE=1")
    assert variable("EMPTY=") == ("EMPTY", "")
    assert variable("FROM_HERE") == ("FROM_HERE", "a=b")
    with pytest.raises(UnsetVariable, match="NOT_HERE"):
        variable("NOT_HERE")
    for wrong in ("=x", "a b=c", "1A=x", ""):
        with pytest.raises(MalformedOption):
            variable(wrong)


def test_mounts(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    assert mount(f"{tmp_path}:/keys").place == PurePosixPath("/keys")
    assert mount(f"{tmp_path}:/keys:ro").source == tmp_path
    assert mount(f"{tmp_path}/a:b:/keys").source == tmp_path / "a:b"
    for wrong in (f"{tmp_path}", f"{tmp_path}:keys", f"{tmp_path}/not:/x", ":/x", f"{tmp_path}:/a/../b"):
        with pytest.raises(MalformedOption):
            mount(wrong)


def test_gpus() -> None:
    assert [gpu_count(text) for text in ("", "all", "none", "0", "2")] == [None, ALL_GPUS, 0, 0, 2]
    for wrong in ("-1", "some", "1.5"):
        with pytest.raises(MalformedOption):
            gpu_count(wrong)


def test_addresses() -> None:
    assert [address(text) for text in ("localhost", "0.0.0.0", "::1")] == ["127.0.0.1", "0.0.0.0", "::1"]
    with pytest.raises(MalformedOption):
        address("example.org")


def test_names() -> None:
    assert server_name("digits-1.2_x") == "digits-1.2_x"
    for wrong in ("-x", "a b", "a/b", "x" * 64):
        with pytest.raises(MalformedOption):
            server_name(wrong)


def test_what_a_server_gets() -> None:
    got = with_given(Limits(), Given(env=("A=1",), memory="2GiB", cpus=1.5, network=True))
    assert (got.env, got.memory_bytes, got.cpus, got.is_connected) == ((("A", "1"),), 2 << 30, 1.5, True)
    assert with_given(Limits(), Given()).memory_bytes is None
