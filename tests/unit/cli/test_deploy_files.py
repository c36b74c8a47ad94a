"""The commands that need no image: what they write, and what they say of words that do not fit together."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from builder.cli.app import main


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["deploy", *map(str, words)])
    return int(ended.value.code or 0)


def test_what_watches_any_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("monitoring", "-o", tmp_path / "new", "--objective", "99") == 0
    files = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.name for path in files] == ["rules.yaml", "dashboard.json"]
    assert "14.4 * 0.01 " in files[0].read_text() and json.loads(files[1].read_text())["panels"]


def test_the_same_for_a_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--kubernetes", "--label", "release=prometheus", "--label", "team=", "-n", "models", "--job", "digits")
    assert run("monitoring", "-o", tmp_path, *words) == 0
    rule, config = (yaml.safe_load(Path(line).read_text()) for line in capsys.readouterr().out.splitlines())
    assert (rule["kind"], config["kind"]) == ("PrometheusRule", "ConfigMap")
    assert {"release": "prometheus", "team": ""}.items() <= rule["metadata"]["labels"].items()
    assert config["metadata"]["namespace"] == "models" and 'job="digits"' in str(rule)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("monitoring", "-o", "x", "--kubernetes", "--label", "release"), "--label is 'release', which is no label"),
        (("monitoring", "-o", "x", "--label", "a=b"), "--label was given, but not --kubernetes"),
        (("monitoring", "-o", "x", "-n", "a"), "--namespace was given, but not --kubernetes"),
        (("compose", "r.example/a:1", "--monitoring"), "--monitoring was given, but not where its files go"),
        (("compose", "r.example/a:1", "--publish", "all"), "--publish is 'all', which is no"),
    ],
)
def test_what_does_not_fit(words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*words) == 2
    assert says in capsys.readouterr().err
