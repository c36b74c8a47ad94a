"""What action.yml of this repository is told and tells: inputs in the environment of a step, options of ``mbuild
build``, outputs in a file (docs.github.com, "Workflow commands for GitHub Actions"). Inputs are values all the way: no
shell reads one.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import content_key
from builder.errors import UsageError

_YES, _NO = ("true", "True", "TRUE"), ("false", "False", "FALSE", "")
_LOGIN = ("MBUILD_REGISTRY_USERNAME", "MBUILD_REGISTRY_PASSWORD")


class ActionInputRefused(UsageError):
    code = "action-input-refused"
    message = "the input {name} of the action is {value!r}: {reason}"
    hint = "docs/github-actions.md has every input"


class HalfOfALogin(UsageError):
    code = "half-of-a-login"
    message = "of the inputs username and password, {missing} is empty"
    hint = "a secret of the repository is empty in workflows of forks; give both, or log in with docker/login-action"


class NotOnARunner(UsageError):
    code = "not-on-a-runner"
    message = "{variable} is not set, so no runner of GitHub Actions started this"
    hint = "`mbuild ci action` is what action.yml runs; everywhere else it is `mbuild build`"


@dataclass(frozen=True, kw_only=True, slots=True)
class ActionInputs:
    """What a step says under ``with``. ``tags`` and ``platforms`` come as lines or with commas, ``args`` as words of
    a shell; ``report`` is empty where nobody named a file."""

    model: str
    target: str
    server: str
    platforms: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    push: bool = False
    load: bool = False
    force: bool = False
    test: bool = True
    max_size: str = ""
    args: tuple[str, ...] = ()
    report: str = ""

    def arguments(self, report: Path) -> tuple[str, ...]:
        """Of ``mbuild build``."""
        given = {"--target": self.target, "--server": self.server, "--max-size": self.max_size}
        lists = {"--platform": self.platforms, "--tag": self.tags}
        return (
            *(word for option, value in given.items() if value for word in (option, value)),
            *(word for option, values in lists.items() for value in values for word in (option, value)),
            *(option for option, on in (("--push", self.push), ("--force", self.force)) if on),
            "--load" if self.load else "--no-load",
            *(() if self.test else ("--no-test",)),
            *self.args,
            *("--report", str(report), "--", self.model),
        )

    def cache_keys(self, machine: str, version: str, content: str) -> tuple[str, str]:
        """The key of GitHub's cache for a build of ``content`` (a digest), and the beginnings of keys that are nearly
        as good, the best first, a line each."""
        scope = f"mbuild-{machine}-{_plain(self.target)}-{_plain(self.server)}-"
        model = f"{scope}{_plain(Path(self.model).name)}-{content_key({'model': self.model})[:8]}-"
        rest = content_key({"version": version, "content": content, "platforms": self.platforms, "args": self.args})
        return model + rest[:16], f"{model}\n{scope}"


def read_inputs(environ: Mapping[str, str]) -> ActionInputs:
    """The inputs as action.yml hands them over: INPUT_MODEL, INPUT_MAX_SIZE ...

    Raises ActionInputRefused, HalfOfALogin."""
    model = environ.get("INPUT_MODEL", "").strip()
    if not model:
        raise ActionInputRefused(name="model", value=model, reason="it names the directory of the model")
    user, password = (bool(environ.get(name)) for name in _LOGIN)
    if user != password:
        raise HalfOfALogin(missing="password" if user else "username")
    return ActionInputs(
        model=model,
        target=environ.get("INPUT_TARGET", "").strip(),
        server=environ.get("INPUT_SERVER", "").strip(),
        platforms=_listed(environ.get("INPUT_PLATFORMS", "")),
        tags=_listed(environ.get("INPUT_TAGS", "")),
        push=_switch("push", environ),
        load=_switch("load", environ),
        force=_switch("force", environ),
        test=_switch("test", environ),
        max_size=environ.get("INPUT_MAX_SIZE", "").strip(),
        args=_words("args", environ),
        report=environ.get("INPUT_REPORT", "").strip(),
    )


def runner_file(variable: str, environ: Mapping[str, str]) -> Path:
    """A file or directory that the runner named. Raises NotOnARunner."""
    if not environ.get(variable):
        raise NotOnARunner(variable=variable)
    return Path(environ[variable])


def output_lines(values: Mapping[str, str]) -> str:
    """As GITHUB_OUTPUT takes them: each value between lines that nobody can know beforehand, so none can end early."""
    fence = f"mbuild-{secrets.token_hex(16)}"
    return "".join(f"{name}<<{fence}\n{value}\n{fence}\n" for name, value in values.items())


def _switch(name: str, environ: Mapping[str, str]) -> bool:
    """As YAML 1.2 spells booleans, which is what GitHub's own actions take."""
    value = environ.get(f"INPUT_{name.upper()}", "").strip()
    if value in _YES:
        return True
    if value in _NO:
        return False
    raise ActionInputRefused(name=name, value=value, reason="it is true or false")


def _words(name: str, environ: Mapping[str, str]) -> tuple[str, ...]:
    value = environ.get(f"INPUT_{name.upper()}", "")
    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ActionInputRefused(name=name, value=value, reason=str(error)) from error


def _listed(value: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in re.split(r"[\n,]", value) if one.strip())


def _plain(value: str) -> str:
    """What a key may have, which has no commas and is not long."""
    return re.sub(r"[^A-Za-z0-9_.]+", "-", value)[:64] or "-"


def outputs_of(result: Mapping[str, object], names: Sequence[str], report: Path) -> dict[str, str]:
    """Of the action, from the JSON result of the build and the names under which it was pushed."""
    image, test = result["image"], result["test"]
    assert isinstance(image, Mapping)
    ready = test.get("ready_seconds") if isinstance(test, Mapping) else None
    return {
        "image": str(image["reference"] or ""),
        "digest": str(image["digest"]),
        "size": str(image["size"]),
        "tags": "\n".join(names),
        "ready-seconds": "" if ready is None else str(ready),
        "report": str(report.absolute()),
    }
