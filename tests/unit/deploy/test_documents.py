"""YAML that says why."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from builder.deploy.documents import because, to_yaml


@pytest.mark.parametrize(
    ("value", "line"), [(5, "a: 5  # so: # it's"), ("512Mi", "a: 512Mi  # so: # it's"), ("1", "a: '1'  # so: # it's")]
)
def test_a_reason_is_a_comment_on_its_line(value: int | str, line: str) -> None:
    document = {"a": because(value, "so: # it's")}
    text = to_yaml([document])
    assert text == f"{line}\n"
    assert yaml.safe_load(text) == document == {"a": value}


@given(
    st.one_of(st.integers(), st.from_regex(r"\A[\w.:/@-]{1,40}\Z")), st.text(st.characters(categories=["L", "P", "Zs"]))
)
def test_whatever_the_reason_the_value_is_read_back(value: int | str, reason: str) -> None:
    document = {"a": [{"b": because(value, reason)}, "c"]}
    assert yaml.safe_load(to_yaml([document])) == {"a": [{"b": value}, "c"]}
