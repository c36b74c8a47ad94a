"""Runs the steps of a composite action as GitHub's runner does (docs.github.com: "Metadata syntax for GitHub Actions",
"Workflow commands", "Evaluate expressions"): the shell steps for real, with the files and variables of a runner. What
``uses`` another action is not run: it is noted, and the test says what it would have put out.

An expression is what action.yml has need of, and anything else is an error: contexts, texts, == != && ||.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)*)|(?P<sign>==|!=|&&|\|\|))")
_COMMAND = re.compile(r"::(?P<name>[a-z-]+)(?: title=(?P<title>[^:]*))?::(?P<text>.*)|::(?P<resume>[0-9a-f]+)::")


@dataclass
class Ran:
    """How a use of the action ended: its outputs, what stands on the page of the job, the annotations as (kind, title,
    text), what the steps printed, and what other actions were given."""

    code: int = 0
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    annotations: list[tuple[str, str, str]] = field(default_factory=list)
    log: str = ""
    used: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass
class Job:
    """A job on a runner: ``home``, ``workspace`` and ``temporary`` are its directories; ``answers`` the outputs of
    other actions by their name without the version; ``path`` grows by what steps add."""

    home: Path
    workspace: Path
    temporary: Path
    environ: Mapping[str, str]
    answers: Mapping[str, Mapping[str, str]]
    path: list[str] = field(default_factory=lambda: ["/usr/bin", "/bin", "/usr/sbin", "/sbin"])

    def use(self, action: Path, **inputs: str) -> Ran:
        """The steps of ``action``, a checkout, up to the first that fails. Inputs have _ for -."""
        document = yaml.safe_load((action / "action.yml").read_text())
        given = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(given) <= set(document["inputs"])
        values = {name: given.get(name, each.get("default", "")) for name, each in document["inputs"].items()}
        contexts: dict[str, Any] = {"inputs": values, "steps": {}, "env": {**self.environ}}
        ran = Ran()
        for step in document["runs"]["steps"]:
            if ran.code or not _truth(evaluate(step.get("if", "'x'"), contexts)):
                continue
            outputs = self._uses(step, contexts, ran) if "uses" in step else self._runs(step, action, contexts, ran)
            contexts["steps"][step.get("id", "")] = {"outputs": outputs}
        ran.outputs = {name: fill(each["value"], contexts) for name, each in document["outputs"].items()}
        return ran

    def _uses(self, step: Mapping[str, Any], contexts: Mapping[str, Any], ran: Ran) -> Mapping[str, str]:
        name = step["uses"].partition("@")[0]
        given = {key: str(value).lower() if isinstance(value, bool) else value for key, value in step["with"].items()}
        ran.used[name] = {key: fill(value, contexts) for key, value in given.items()}
        return self.answers[name]

    def _runs(self, step: Mapping[str, Any], action: Path, contexts: Mapping[str, Any], ran: Ran) -> dict[str, str]:
        assert step["shell"] == "bash"
        files = {
            name: self.temporary / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_PATH", "GITHUB_STEP_SUMMARY")
        }
        for file in files.values():
            file.write_text("")
        script = self.temporary / "step.sh"
        script.write_text(fill(step["run"], contexts))
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            env={
                **self.environ,
                **self._variables(action),
                **{name: str(file) for name, file in files.items()},
                **{name: fill(value, contexts) for name, value in step.get("env", {}).items()},
            },
            cwd=self.workspace / fill(step.get("working-directory", "."), contexts),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=500,
        )
        ran.code, ran.log = done.returncode, ran.log + done.stdout
        ran.annotations += annotations(done.stdout)
        ran.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        self.path[:0] = files["GITHUB_PATH"].read_text().split()
        return read_outputs(files["GITHUB_OUTPUT"].read_text())

    def _variables(self, action: Path) -> dict[str, str]:
        """That a runner sets, as far as anything here could look at them."""
        return {
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(action),
            "GITHUB_WORKSPACE": str(self.workspace),
            "HOME": str(self.home),
            "PATH": ":".join(self.path),
            "RUNNER_ARCH": "X64",
            "RUNNER_ENVIRONMENT": "self-hosted",
            "RUNNER_OS": "Linux",
            "RUNNER_TEMP": str(self.temporary),
        }


def vendored_schema(name: str) -> dict[str, Any]:
    """SchemaStore's, as check-jsonschema brings it: github-actions or github-workflows."""
    place = files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{name}.json"
    return dict(json.loads(place.read_text()))


def read_workflow(path: Path) -> dict[str, Any]:
    """With ``on`` as a word, which YAML 1.1 takes for a yes."""
    return {"on" if key is True else key: value for key, value in yaml.safe_load(path.read_text()).items()}


def fill(text: str, contexts: Mapping[str, Any]) -> str:
    """A text with the values of its expressions."""
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: evaluate(found[1], contexts), text)


def evaluate(expression: str, contexts: Mapping[str, Any]) -> str:
    """The value as a text; what is not there is empty."""
    tokens, at, end = [], 0, len(expression.rstrip())
    while at < end:
        found = _TOKEN.match(expression, at)
        assert found, f"this expression needs a better test: {expression}"
        tokens.append(found)
        at = found.end()
    return _either(tokens, contexts)


def _either(tokens: list[re.Match[str]], contexts: Mapping[str, Any]) -> str:
    for sign in ("||", "&&"):
        for number, token in enumerate(tokens):
            if token["sign"] == sign:
                left = _either(tokens[:number], contexts)
                return left if _truth(left) == (sign == "||") else _either(tokens[number + 1 :], contexts)
    if len(tokens) == 3:
        same = _either(tokens[:1], contexts).lower() == _either(tokens[2:], contexts).lower()
        return "true" if same == (tokens[1]["sign"] == "==") else ""
    (token,) = tokens
    if token["text"]:
        return token["text"][1:-1].replace("''", "'")
    value: Any = contexts
    for part in token["name"].split("."):
        value = value.get(part, {})
    return value or "" if isinstance(value, str) or not value else str(value)


def _truth(value: str) -> bool:
    return bool(value)


def read_outputs(text: str) -> dict[str, str]:
    """What a step wrote into GITHUB_OUTPUT."""
    found, lines = {}, iter(text.split("\n")[:-1])
    for line in lines:
        if mark := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value = []
            while (part := next(lines)) != mark[2]:
                value.append(part)
            found[mark[1]] = "\n".join(value)
        else:
            name, _, rest = line.partition("=")
            found[name] = rest
    return found


def annotations(log: str) -> list[tuple[str, str, str]]:
    """What the runner makes of the workflow commands in a log."""
    found, stopped = [], ""
    for line in log.splitlines():
        command = _COMMAND.fullmatch(line.lstrip())
        if not command or (stopped and command["resume"] != stopped):
            continue
        if command["resume"]:
            stopped = ""
        elif command["name"] == "stop-commands":
            stopped = command["text"]
        elif command["name"] in ("error", "warning", "notice"):
            text = command["text"].replace("%0A", "\n").replace("%0D", "\r").replace("%25", "%")
            found.append((command["name"], command["title"] or "", text))
    return found
