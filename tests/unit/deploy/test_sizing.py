"""What a server is given, from what was measured of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.deploy.served import MalformedName, Served, grace_of, label_of, require_name
from builder.deploy.sizing import MalformedQuantity, Memory, size
from builder.model.measured import Measured
from tests.support.deployed import CPU, SERVED

GIB = 2**30


def measured(**figures: float) -> Served:
    return replace(CPU, measured=Measured(**figures))  # type: ignore[arg-type]


@given(*[st.floats(min_value=0, max_value=3600)] * 2)
def test_a_slower_start_never_gets_less_time(one: float, other: float) -> None:
    quick, slow = sorted((one, other))
    times = [size(measured(ready_seconds=seconds)).start.seconds for seconds in (quick, slow)]
    assert times == sorted(times)
    assert times[1] >= max(60, 10 * slow)


@given(*[st.integers(min_value=0, max_value=512 * GIB)] * 2)
def test_more_memory_used_never_gets_less(one: int, other: int) -> None:
    few, many = sorted((one, other))
    less, more = (size(measured(peak_memory_bytes=peak)).memory for peak in (few, many))
    assert (less.request, less.limit) <= (more.request, more.limit)
    assert many < more.request * 2**20 <= more.limit * 2**20


@given(*[st.integers(min_value=0, max_value=512 * GIB)] * 2)
def test_a_larger_model_that_was_not_measured_never_gets_less(one: int, other: int) -> None:
    small, large = (size(replace(CPU, measured=None, model_bytes=each)).memory for each in sorted((one, other)))
    assert small.request <= large.request <= large.limit
    assert small.limit <= large.limit


@pytest.mark.parametrize("grace", [0, 1, 25, 600])
def test_nobody_is_killed_within_its_grace(grace: int) -> None:
    given = size(replace(CPU, grace_seconds=grace))
    assert given.stop > given.settle + grace


def test_the_figures_say_where_they_are_from() -> None:
    given = size(CPU)
    assert (given.start.period, given.start.seconds) == (1, 60)
    assert "ready after 0.5 s" in given.start.reason
    assert given.memory.reason.startswith("93 MiB at most when measured")
    emulated = replace(CPU, measured=Measured(peak_memory_bytes=1, emulator="qemu"))
    assert "under an emulator" in size(emulated).memory.reason


def test_what_was_not_measured_gets_more() -> None:
    assert size(SERVED["http-cpu-unmeasured"]).start.seconds == 600
    assert size(SERVED["http-cuda13"]).start.seconds == 1200
    assert size(SERVED["http-cuda13"]).memory.request > 2048


def test_a_driver_that_compiles_gets_its_time() -> None:
    assert size(SERVED["http-cuda12"]).start.seconds == 600


@pytest.mark.parametrize(("given", "mebibytes"), [("512Mi", 512), ("4Gi", 4096)])
def test_memory_that_is_given_counts(given: str, mebibytes: int) -> None:
    assert size(CPU, memory=given).memory == Memory(request=mebibytes, limit=mebibytes, reason="as --memory says")


@pytest.mark.parametrize(
    "wrong", [{"memory": "512MB"}, {"memory": "0Gi"}, {"memory": "512"}, {"cpu": "two"}, {"cpu": "0"}]
)
def test_a_wrong_quantity_names_its_option(wrong: dict[str, str]) -> None:
    (option,) = wrong
    with pytest.raises(MalformedQuantity, match=f"--{option} is "):
        size(CPU, **wrong)


@pytest.mark.parametrize(
    ("env", "entrypoint", "seconds"),
    [
        ((), ("python",), 25),
        (("PATH=/bin", "MBUILD_GRACE_SECONDS=7.5"), ("python",), 8),
        ((), ("tritonserver", "--exit-timeout-secs=60"), 60),
        (("MBUILD_GRACE_SECONDS=soon",), (), 25),
    ],
)
def test_the_image_says_how_long_it_takes_leave(
    env: tuple[str, ...], entrypoint: tuple[str, ...], seconds: int
) -> None:
    assert grace_of(env, entrypoint) == seconds


@pytest.mark.parametrize("name", ["digits", "a", "a-b-2"])
def test_names(name: str) -> None:
    assert require_name(name) == name == label_of(name)


@pytest.mark.parametrize("name", ["", "Digits", "2digits", "a_b", "a.b", "-a", "a-", "a" * 53, "ä"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(MalformedName):
        require_name(name)


@given(st.text(min_size=1))
def test_every_name_has_a_label_near_it(name: str) -> None:
    assert require_name(label_of(name))
