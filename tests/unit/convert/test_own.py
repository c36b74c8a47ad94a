"""What of a user's own environment is another version, and what such an environment is to keys and locks."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from builder.convert.convert import SourceModel
from builder.convert.converters import CONVERTERS
from builder.convert.own import OwnEnvironment, other_versions

PINS = {"torch": "2.13.0", "xgboost-cpu": "3.2.0", "numpy": "2.4.6"}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({}, ()),
        ({"torch": ("torch", "2.13.0+cu130"), "numpy": ("numpy", "2.4.6")}, ()),
        ({"numpy": ("numpy", "2.3.1")}, ("numpy 2.3.1 instead of 2.4.6",)),
        ({"xgboost-cpu": ("xgboost", "3.2.0")}, ()),
        ({"xgboost-cpu": ("xgboost", "3.1.0")}, ("xgboost 3.1.0 instead of 3.2.0",)),
    ],
)
def test_other_versions_are_named(found: dict[str, tuple[str, str]], said: tuple[str, ...]) -> None:
    assert other_versions(PINS, found) == said


def test_a_lock_says_whose_environment_converted() -> None:
    own = OwnEnvironment(python=Path("/home/ada/bin/python"), versions=(("python", "3.12.1"), ("xgboost", "3.2.0")))
    model = SourceModel(
        directory=Path(),
        entry=PurePosixPath("model.json"),
        inputs=(),
        converter=CONVERTERS["xgboost"],
        files=(PurePosixPath("model.json"),),
        own=own,
    )
    tools = dict(model.tools)
    assert tools.pop("xgboost_worker")
    assert tools == {"convert.env": "user", "convert.python": "3.12.1", "convert.xgboost": "3.2.0"}
