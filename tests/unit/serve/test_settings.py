"""Settings come from the environment; what is wrong with one is said with its name."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from builder.serve.settings import SettingError, Settings, unknown


def test_defaults_and_overrides() -> None:
    settings = Settings.from_environ({"MBUILD_PORT": "9000", "MBUILD_HEAD_TIMEOUT": "2.5", "MBUILD_HOST": " "})
    assert (settings.port, settings.head_timeout, settings.host) == (9000, 2.5, "*")
    assert settings.max_body == 0 and settings.grace == 25


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("MBUILD_PORT", "http", "must be a whole number."),
        ("MBUILD_PORT", "8_000", "must be a whole number."),
        ("MBUILD_PORT", "٨٠٠٠", "must be a whole number."),
        ("MBUILD_PORT", "70000", "must be a whole number from 0 to 65535."),
        ("MBUILD_MAX_BODY", "1.5", "must be a whole number."),
        ("MBUILD_QUEUE", "0", "must be a whole number from 1"),
        ("MBUILD_GRACE_SECONDS", "nan", "must be a number from 0"),
        ("MBUILD_ACCESS_LOG", "2", "must be a number from 0 to 1."),
        ("MBUILD_BATCH_SIZES", "4,many", "must be numbers of rows such as 4,8, or auto."),
        ("MBUILD_BATCH_SIZES", "0", "must be numbers of rows such as 4,8, or auto."),
        ("MBUILD_BATCH_DELAY", "-2", "must be a number from -1"),
        ("MBUILD_LOG_LEVEL", "verbose", "must be debug, info, warning or error"),
    ],
)
def test_wrong_values(variable: str, value: str, says: str) -> None:
    with pytest.raises(SettingError) as raised:
        Settings.from_environ({variable: value})
    assert str(raised.value).startswith(variable) and value in str(raised.value) and says in str(raised.value)


def test_every_setting_is_documented() -> None:
    variables = [each.metadata["env"] for each in fields(Settings)]
    assert all(name.startswith("MBUILD_") for name in variables) and len(set(variables)) == len(variables)
    assert all(each.metadata["about"] for each in fields(Settings))


def test_the_document_lists_every_setting_with_its_default() -> None:
    text = (Path(__file__).parents[3] / "docs" / "server.md").read_text()
    for each in fields(Settings):
        shown = f"{each.default:g}" if isinstance(each.default, float) else str(each.default)
        if each.name != "log_level":
            assert f"| `{each.metadata['env']}` |{f' `{shown}`' if shown else ''} |" in text


def test_misspelt_variables_are_found() -> None:
    assert unknown({"MBUILD_PROT": "1", "MBUILD_PORT": "1", "PATH": "/bin"}) == ["MBUILD_PROT"]


def test_misspelt_names_in_a_file_are_found(tmp_path: Path) -> None:
    (tmp_path / "settings").write_text("MBUILD_QUEU=1\nPORT=1\nOTEL_SERVICE_NAME=a\n")
    assert unknown({"MBUILD_SETTINGS": str(tmp_path / "settings")}) == ["MBUILD_QUEU", "PORT"]


def test_a_key_is_in_no_repr() -> None:
    assert "hidden" not in repr(Settings.from_environ({"MBUILD_API_KEY": "hidden"}))
