"""The documented differences between the servers are those that the conformance suite finds, each of them."""

from __future__ import annotations

from pathlib import Path

from tests.contract.server.protocol import differences
from tests.contract.server.protocol.differences import DIFFERENCES

ROOT = Path(__file__).parents[3]


def test_the_documents_table_is_the_suites() -> None:
    section = (ROOT / "docs/server.md").read_text().split("\n## Where it differs from Triton\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    assert rows == [
        "| | Triton | here | why |",
        "| --- | --- | --- | --- |",
        *(one.row() for one in DIFFERENCES.values()),
    ]


def test_each_difference_is_met_by_a_test() -> None:
    suite = "".join(path.read_text() for path in Path(differences.__file__).parent.glob("test_*.py"))
    assert [key for key in DIFFERENCES if f'"{key}"' not in suite] == []
