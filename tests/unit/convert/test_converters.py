"""The table of converters holds together: every format has one, every pin is exact, nothing asks for a GPU."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement

from builder.convert.converters import CONVERTERS
from builder.formats import FORMATS
from builder.pipeline.converters import framework_version
from builder.resources import worker_source

PINS = {name: converter.environment.requirements for name, converter in CONVERTERS.items()}


def test_every_format_but_onnx_has_a_converter() -> None:
    assert {format_.name for format_ in FORMATS} - {"onnx"} <= set(CONVERTERS)


@pytest.mark.parametrize("name", CONVERTERS)
def test_its_worker_ships(name: str) -> None:
    assert worker_source(CONVERTERS[name].worker).is_file()


@pytest.mark.parametrize("name", PINS)
def test_pins_are_exact_unique_and_for_the_processor(name: str) -> None:
    requirements = [Requirement(pin) for pin in PINS[name]]
    names = [requirement.name for requirement in requirements]
    assert len(names) == len(set(names))
    assert all([specifier.operator for specifier in pin.specifier] == ["=="] for pin in requirements)
    assert not [own for own in names if own.startswith(("nvidia-", "triton")) or own in ("xgboost", "cupy")]


def test_each_says_how_much_there_is_to_wait_for() -> None:
    assert all(converter.environment.megabytes > 100 for converter in CONVERTERS.values())


@pytest.mark.parametrize(
    ("name", "version", "told"),
    [
        ("keras", "3.99.0", ("keras 3.99.0 (3.15.1 reads it)",)),
        ("keras", "3.15.9", ()),
        ("keras", "2.6.0", ()),
        ("keras", "nightly", ()),
        ("another", "9", ()),
        ("tensorflow", "3.0", ("tensorflow 3.0 (2.21.0 reads it)",)),
    ],
)
def test_a_newer_framework_that_wrote_a_model_is_told(name: str, version: str, told: tuple[str, ...]) -> None:
    assert CONVERTERS["keras"].older_than({name: version}) == told


def test_one_name_stands_for_one_environment() -> None:
    by_name: dict[str, set[tuple[str, ...]]] = {}
    for converter in CONVERTERS.values():
        by_name.setdefault(converter.environment.name, set()).add(converter.environment.requirements)
    assert all(len(pins) == 1 for pins in by_name.values()), by_name


def test_people_read_the_version_of_the_framework() -> None:
    assert framework_version(CONVERTERS["xgboost"]) == "XGBoost 3.2.0"
    assert framework_version(CONVERTERS["catboost"]) == "CatBoost 1.2.10"
