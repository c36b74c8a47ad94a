"""A job's page shows what was built, and why nothing was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builder.cli.output import FileNotWritable, kept
from builder.cli.summary import failure_summary, fleet_summary, pushed_names, summary
from builder.errors import SpecError
from tests.support.results import DIGESTS, layer, model, parity, push, report, result

SCHEMA = json.loads((Path(__file__).parents[3] / "builder/schemas/result.schema.json").read_text())
PLACE = f"registry.example/team/digits@{DIGESTS[9]}"


class Wrong(SpecError):
    code = "wrong-in-a-test"
    message = "it says {said}"
    hint = "say something else"


def rows(text: str, first: str) -> list[list[str]]:
    """The cells of the table whose first heading is ``first``."""
    lines = text.split(f"| {first} |", 1)[1].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def drawn(text: str, kind: str) -> list[str]:
    return text.split(f"```mermaid\n{kind}\n", 1)[1].split("\n```")[0].splitlines()


@pytest.mark.parametrize(
    "value",
    [
        result(),
        result(push=push(PLACE, "1", also=[push(PLACE, "")])),
        result(models=[model("one"), model("two")], parity=None),
    ],
)
def test_the_results_of_these_tests_are_results(value: dict[str, Any]) -> None:
    jsonschema.validate(value, SCHEMA)
    assert summary(value).startswith("## a\\_b 1.0.0\n")


def test_what_was_built_and_how_it_tested() -> None:
    text = summary(result())
    assert ["for", "`sklearn-http-cpu-linux_amd64`"] in rows(text, "")
    assert ["time", "2.3 s, 1 of 3 steps cached"] in rows(text, "")
    assert rows(text, "platform") == [["linux/amd64", "16.5 MB", "3 right", "0.41 s", "0.40 ms", "1.25 ms", "65.4 MB"]]
    assert rows(text, "model") == [
        ["a\\_b", "1.0.0", "sklearn", "1 case, 1 edge as in scikit-learn", "2.5e-07", "1e-05"]
    ]
    assert rows(text, "layers") == [["base", "1", "15.0 MB", "45.0 MB"], ["model", "2", "1.5 MB", "4.5 MB"]]


def test_what_was_pushed_and_what_was_there() -> None:
    value = result(push=push(PLACE, "1.0.0", also=[push(PLACE, "latest")]))
    value["image"]["reference"] = PLACE
    text = summary(value)
    assert pushed_names(value) == ("registry.example/team/digits:1.0.0", "registry.example/team/digits:latest")
    assert ["image", f"`{PLACE}`"] in rows(text, "")
    assert ["moved", "1.0 MB uploaded, 15.0 MB mounted, 500.0 kB reused"] in rows(text, "")
    assert rows(text, "layers") == [
        ["base", "1", "15.0 MB", "45.0 MB", "", "15.0 MB", ""],
        ["model", "2", "1.5 MB", "4.5 MB", "1.0 MB", "", "500.0 kB"],
    ]


def test_the_pictures() -> None:
    text = summary(
        result(layers=[layer("base", 1, 15_000_000), layer("server", 2, 4000), layer("model", 3, 1_500_000)])
    )
    assert drawn(text, "pie showData") == [
        "    title Where the bytes are (MB, compressed)",
        '    "base" : 15.00',
        '    "model" : 1.50',
    ]
    assert drawn(text, "xychart-beta")[1:] == [
        '    x-axis ["assemble", "test"]',
        '    y-axis "s"',
        "    bar [1.50, 0.75]",
    ]


def test_no_picture_of_nothing() -> None:
    assert "xychart" not in summary(result(steps=[{"name": "detect", "seconds": 0.0, "cached": True, "detail": ""}]))


@pytest.mark.parametrize(
    ("test", "told"),
    [
        (None, "not run"),
        ({"not_run": "no | qemu", "checks": []}, "not run: no \\| qemu"),
        (report(emulator="qemu 7"), "3 right, emulated (qemu 7)"),
    ],
)
def test_what_was_not_run_says_so(test: dict[str, Any] | None, told: str) -> None:
    value = result()
    value["platforms"][0]["test"] = test
    assert f"| linux/amd64 | 16.5 MB | {told} |" in summary(value)


def test_many_models_are_cut() -> None:
    text = summary(result(models=[model(f"m{number}") for number in range(300)], parity=None))
    assert rows(text, "model")[-1][0] == "and 100 more"
    assert len(text.encode()) < 1 << 20


def test_a_distance_without_bound() -> None:
    tensor = {"name": "y", "max_absolute": "inf", "max_relative": "inf"}
    endless = parity("torch", conversion={"cases": [{"name": "one", "tensors": [tensor]}]})
    assert rows(summary(result(models=[model("m", parity=endless)])), "model")[0][-2:] == ["inf", "inf"]


def test_a_failure_is_quoted_as_it_is() -> None:
    text = failure_summary("a|b", Wrong(said="```\n# <b>no heading</b>"))
    assert text == (
        "## a\\|b: no image\n\n````text\nerror (wrong-in-a-test): it says ```\n# <b>no heading</b>\n"
        "hint: say something else\n````\n\n"
    )
    assert len(failure_summary("a", Wrong(said="x" * 3_000_000))) < 30_000


def outcome(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "directory": name,
        "target": "cpu",
        "seconds": 1.25,
        "digest": DIGESTS[1],
        "size": 41_800_000,
        "uploaded": 0,
        "reference": None,
        "unchanged": False,
        "error": None,
        **changes,
    }


def test_a_fleet_says_what_became_of_each() -> None:
    error = {"code": "broken-onnx", "exit_code": 4, "message": "no\n```", "hint": "mend it"}
    text = fleet_summary(
        [
            outcome("a_b", uploaded=1_000_000, reference=PLACE),
            outcome("same", unchanged=True),
            outcome("broken", digest=None, size=0, error=error),
        ]
    )
    assert text.startswith("## 3 models, 1 failed\n")
    assert rows(text, "model") == [
        ["a\\_b", "cpu", "built", "41.8 MB", "1.0 MB", "1.2 s", f"`{PLACE}`"],
        ["same", "cpu", "unchanged", "41.8 MB", "", "1.2 s", f"`{DIGESTS[1]}`"],
        ["broken", "cpu", "failed", "", "", "1.2 s", ""],
    ]
    assert text.endswith("### broken\n\n````text\nerror (broken-onnx): no\n```\nhint: mend it\n````\n\n")


def test_both_files_are_kept(tmp_path: Path) -> None:
    report, page = tmp_path / "new" / "result.json", tmp_path / "new" / "summary.md"
    for _ in range(2):
        with kept(report, page, "model") as keep:
            keep(result())
    assert json.loads(report.read_text())["name"] == "a_b"
    assert page.read_text() == summary(result()) * 2


def test_a_failure_is_kept_and_goes_on(tmp_path: Path) -> None:
    page = tmp_path / "summary.md"
    with pytest.raises(Wrong), kept(tmp_path / "result.json", page, "model"):
        raise Wrong(said="no")
    assert page.read_text() == failure_summary("model", Wrong(said="no"))
    assert not (tmp_path / "result.json").exists()


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "result.json"):
        with pytest.raises(FileNotWritable, match=r"--report cannot write"), kept(path, None, "model"):
            pytest.fail("it went on")
