"""What a server logs, as a person reads it."""

from __future__ import annotations

from builder.cli.log_lines import Lines, line_for_people


def test_events_are_told_in_short() -> None:
    line = '{"time": "2026-11-22T09:15:59.115Z", "level": "info", "message": "ready", "port": 8000, "models": [{}]}'
    assert line_for_people(line).plain == "09:15:59 ready port=8000"


def test_other_lines_stay_as_they_are() -> None:
    for line in ("W0000 a line of Triton [1]", "", "[1, 2]", '{"no": "message"}', "[" * 100_000):
        assert line_for_people(line).plain == line


def test_pieces_become_lines() -> None:
    said: list[str] = []
    lines = Lines(said.append)
    for piece in (b"on", b"e\ntwo\nthr", b"ee \xff\n", b"rest"):
        lines.write(piece)
    assert said == ["one", "two", "three \ufffd"]
