"""A recognised kind of file becomes a model of its format, and other kinds do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.formats import FORMATS
from builder.formats.known import recognize
from builder.formats.recognized import RecognizedFormat
from builder.model.source import list_model

FILES = Path(__file__).parents[2] / "support" / "known"
FOUND = {"xgboost": ["booster.json", "booster.ubj"], "lightgbm": ["booster.txt"], "catboost": ["trees.cbm"]}


@pytest.mark.parametrize("name", FOUND)
def test_it_finds_its_own_kind(name: str) -> None:
    format_ = next(one for one in FORMATS if one.name == name)
    assert isinstance(format_, RecognizedFormat)
    found = format_.detect(list_model(FILES), recognize(list_model(FILES)))
    assert [str(model.entry) for model in found] == FOUND[name]
    assert all(model.format == name and model.evidence for model in found)
