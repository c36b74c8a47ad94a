"""What a worker writes is kept by what the worker is: any edit of it, or of what it imports, is another key."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.convert.converters import CONVERTERS
from builder.convert.tools import source_digest, worker_digest


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    (tmp_path / "one.py").write_text("import json\n\ndef act():\n    import beside\n")
    (tmp_path / "beside.py").write_text("from behind import x\n")
    (tmp_path / "behind.py").write_text("import one\nx = 1\n")
    (tmp_path / "other.py").write_text("x = 1\n")
    return tmp_path / "one.py"


@pytest.mark.parametrize("name", ["one", "beside", "behind"])
def test_an_edit_is_another_digest(worker: Path, name: str) -> None:
    before = source_digest(worker)
    with worker.with_name(f"{name}.py").open("a") as file:
        file.write("y = 2\n")
    assert source_digest(worker) != before


def test_what_it_does_not_import_and_where_it_lies_do_not_count(worker: Path, tmp_path: Path) -> None:
    before = source_digest(worker)
    worker.with_name("other.py").write_text("x = 2\n")
    (tmp_path / "elsewhere").mkdir()
    for name in ("one", "beside", "behind"):
        worker.with_name(f"{name}.py").rename(tmp_path / "elsewhere" / f"{name}.py")
    assert source_digest(tmp_path / "elsewhere" / "one.py") == before


def test_each_converter_has_its_own() -> None:
    workers = {converter.worker for converter in CONVERTERS.values()}
    assert len({worker_digest(worker) for worker in workers}) == len(workers)
