"""How a push and a pull are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.cli.tables import print_pull, print_push
from builder.oci.digest import Digest
from builder.oci.reference import PinnedReference
from builder.pipeline.packages.pull import PullResult
from builder.registry.push import Attached, PushResult
from builder.registry.transfer import Moved, Outcome

REFERENCE = PinnedReference(registry="r.example", repository="team/digits", digest=Digest.of(b""))


def moved(role: str, outcome: Outcome, size: int) -> Moved:
    return Moved(role=role, outcome=outcome, size=size)


def test_a_push_tells_what_moved(capsys: pytest.CaptureFixture[str]) -> None:
    ways = (
        moved("base", Outcome.MOUNTED, 30_000_000),
        moved("weights", Outcome.REUSED, 2_000_000_000),
        moved("weights", Outcome.UPLOADED, 64_000_000),
        moved("manifest", Outcome.UPLOADED, 900),
    )
    result = PushResult(reference=REFERENCE, tag="1", moved=ways)
    print_push(result)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["pushed", str(REFERENCE)]
    assert lines[1].strip() == "uploaded 64.0 MB, reused 2.0 GB, mounted 30.0 MB"
    assert "weights 2.0 GB reused, 64.0 MB uploaded" in " ".join(lines)
    assert result.to_json()["by_role"] == {
        "base": {"mounted": 30_000_000},
        "weights": {"reused": 2_000_000_000, "uploaded": 64_000_000},
        "manifest": {"uploaded": 900},
    }


def test_what_is_attached_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    packed = PushResult(reference=REFERENCE, tag="", moved=(moved("config", Outcome.UPLOADED, 900),))
    result = PushResult(reference=REFERENCE, tag="1", moved=(), attached=(Attached(name="modelpack", pushed=packed),))
    print_push(result)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("with")]
    assert line.split(maxsplit=2)[1:] == ["modelpack", f"{REFERENCE.digest}  (uploaded 900 B)"]


def test_a_pull_tells_what_it_fetched(capsys: pytest.CaptureFixture[str]) -> None:
    ways = (moved("base", Outcome.REUSED, 30_000_000), moved("model", Outcome.DOWNLOADED, 5_000))
    print_pull(PullResult(reference=REFERENCE, path=Path("out"), moved=ways))
    assert [line.split(maxsplit=1)[-1].strip() for line in capsys.readouterr().out.splitlines()] == [
        str(REFERENCE),
        ["downloaded", "5.0 kB, reused 30.0 MB"][1],
        "out",
    ]
