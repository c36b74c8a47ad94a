"""Where settings come from: environment variables, and below them a file with the same names (MBUILD_SETTINGS).

The file has lines of NAME=VALUE, as docker's --env-file takes them: blank lines and lines that begin with # are left
out, a value may stand in quotes. A variable of the environment that is not empty wins over the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILE = "MBUILD_SETTINGS"
_LARGEST = 2**20


class SettingError(ValueError):
    """A variable has a value that cannot be used; the message is one sentence for people."""


def settings_file(environ: Mapping[str, str]) -> dict[str, str]:
    """What the file of settings says, nothing where none is named. Raises SettingError."""
    name = environ.get(FILE, "").strip()
    if not name:
        return {}
    found: dict[str, str] = {}
    for number, line in enumerate(secret_text(FILE, name).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        variable, equals, value = text.partition("=")
        variable = variable.strip()
        if not equals or not variable.isidentifier():
            raise SettingError(f"{FILE}: line {number} of {name} is not NAME=VALUE.")
        if variable in found:
            raise SettingError(f"{FILE}: line {number} of {name} gives {variable} a second time.")
        found[variable] = _unquoted(value.strip())
    return found


def surroundings(environ: Mapping[str, str]) -> Mapping[str, str]:
    """The environment, and the file where that says nothing. Raises SettingError."""
    file = settings_file(environ)
    return {**environ, **{name: value for name, value in file.items() if not environ.get(name, "").strip()}}


def secret_text(variable: str, name: str) -> str:
    """The text of a file that a variable names; what is wrong is said without a word of its content."""
    try:
        with Path(name).open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except OSError as error:
        raise SettingError(f"{variable}: {name} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:  # a null character in the name
        raise SettingError(f"{variable} is not the name of a file.") from error
    if len(content) > _LARGEST:
        raise SettingError(f"{variable}: {name} is larger than {_LARGEST} bytes.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingError(f"{variable}: {name} is not UTF-8 text.") from None


def _unquoted(value: str) -> str:
    quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
    return value[1:-1] if quoted else value
