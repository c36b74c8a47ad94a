"""What is said of a directory that is no layout."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.oci.layout import Layout, NotALayout


@pytest.mark.parametrize("text", ['{"a": 1}', "{", "[]", ""])
def test_an_index_that_is_none_is_named_with_its_directory(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(NotALayout, match=rf"{tmp_path} is not an OCI image layout: in index\.json"):
        _ = Layout(tmp_path).index


@pytest.mark.parametrize(("name", "reason"), [("", "no index.json"), ("file", "is a file"), ("nowhere", "is nothing")])
def test_what_is_missing_is_said(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(NotALayout, match=reason):
        _ = Layout(tmp_path / name).index
