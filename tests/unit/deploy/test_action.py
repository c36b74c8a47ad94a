"""action.yml, the reusable workflow and what mbuild reads of them say the same; and inputs become options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from builder.deploy.action import (
    ActionInputRefused,
    ActionInputs,
    HalfOfALogin,
    NotOnARunner,
    outputs_of,
    read_inputs,
    runner_file,
)
from tests.support.github_actions import ROOT, annotations, evaluate, read_workflow, vendored_schema
from tests.support.results import push, result

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
WORKFLOWS = {path.stem: read_workflow(path) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
WORKFLOW = WORKFLOWS["build-model"]
CALLED = WORKFLOW["on"]["workflow_call"]
OWN = {"artifact", "runner", "timeout-minutes"}
LOGIN = {"username", "password"}
STEPS = ACTION["runs"]["steps"]


def step_of(steps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(step for step in steps if step.get("id") == name)


def test_the_files_are_what_github_takes() -> None:
    jsonschema.validate(ACTION, vendored_schema("github-actions"))
    for workflow in WORKFLOWS.values():
        jsonschema.validate(workflow, vendored_schema("github-workflows"))


def test_no_input_is_in_the_text_of_a_script() -> None:
    jobs = [job["steps"] for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
    scripts = [step["run"] for steps in (STEPS, *jobs) for step in steps if "run" in step]
    assert len(scripts) > 4
    assert not [script for script in scripts if "${{" in script]


def test_the_workflow_takes_what_the_action_takes() -> None:
    build = step_of(WORKFLOW["jobs"]["build"]["steps"], "build")
    assert set(CALLED["inputs"]) - OWN == set(ACTION["inputs"]) - LOGIN - {"report"}
    assert set(CALLED["secrets"]) == LOGIN
    assert set(build["with"]) == set(ACTION["inputs"]) - {"report"}
    for name, given in CALLED["inputs"].items():
        if name not in OWN:
            default = given.get("default")
            text = str(default).lower() if isinstance(default, bool) else default
            assert text == ACTION["inputs"][name].get("default"), name
            assert build["with"][name] == f"${{{{ inputs.{name} }}}}"


def test_the_workflow_gives_what_the_action_gives() -> None:
    given = set(ACTION["outputs"]) - {"report"}
    assert set(CALLED["outputs"]) == set(WORKFLOW["jobs"]["build"]["outputs"]) == given
    assert set(ACTION["outputs"]) == set(outputs_of(result(), (), Path("r.json")))


def test_the_job_s_own_token_goes_to_github_s_registry_only() -> None:
    build = step_of(WORKFLOW["jobs"]["build"]["steps"], "build")
    for name, own in (("username", "actor"), ("password", "token")):
        expression = build["with"][name].removeprefix("${{").removesuffix("}}")
        guarded = expression.replace("startsWith(inputs.tags, 'ghcr.io/')", "inputs.ghcr")
        contexts = {"secrets": {}, "github": {own: "own"}, "inputs": {"ghcr": ""}}
        assert evaluate(guarded, contexts) == ""
        assert evaluate(guarded, {**contexts, "inputs": {"ghcr": "true"}}) == "own"
        assert evaluate(guarded, {**contexts, "secrets": {name: "given"}}) == "given"


def test_mbuild_reads_what_the_steps_set() -> None:
    read: set[str] = set()

    class Environ(dict[str, str]):
        def get(self, key: str, default: Any = None) -> Any:
            read.add(key)
            return {"INPUT_MODEL": "m"}.get(key, default)

    read_inputs(Environ())
    assert read == set(step_of(STEPS, "build")["env"])
    assert set(step_of(STEPS, "prepare")["env"]) <= read


@pytest.mark.parametrize("what", ["inputs", "outputs"])
def test_the_page_has_every_input_and_output(what: str) -> None:
    text = (ROOT / "docs" / "github-actions.md").read_text()
    missing = [name for name in ACTION[what] if not re.search(rf"^\| .*`{name}`.* \|", text, re.MULTILINE)]
    assert not missing


def given(**inputs: str) -> ActionInputs:
    return read_inputs({"INPUT_MODEL": "models/digits", **{f"INPUT_{name}": text for name, text in inputs.items()}})


def test_the_least_that_can_be_said() -> None:
    assert given().arguments(Path("r.json")) == ("--no-load", "--no-test", "--report", "r.json", "--", "models/digits")


def test_every_input_is_an_option() -> None:
    inputs = given(
        TARGET="cuda13",
        SERVER="triton",
        PLATFORMS="linux/amd64, linux/arm64\n",
        TAGS="a.example/x:1\n\n a.example/x:latest ",
        PUSH="true",
        LOAD="True",
        FORCE="true",
        TEST="true",
        MAX_SIZE="900MB",
        ARGS="--locked --env 'python=my env/python'",
    )
    assert inputs.arguments(Path("r.json")) == (
        *("--target", "cuda13", "--server", "triton", "--max-size", "900MB"),
        *("--platform", "linux/amd64", "--platform", "linux/arm64"),
        *("--tag", "a.example/x:1", "--tag", "a.example/x:latest"),
        *("--push", "--force", "--load", "--locked", "--env", "python=my env/python"),
        *("--report", "r.json", "--", "models/digits"),
    )


@pytest.mark.parametrize(("name", "value"), [("PUSH", "yes"), ("TEST", "1"), ("ARGS", "'open"), ("MODEL", " ")])
def test_what_is_no_value_of_an_input_is_refused(name: str, value: str) -> None:
    with pytest.raises(ActionInputRefused, match=f"the input {name.lower()} of the action is"):
        given(**{name: value})


@pytest.mark.parametrize(("given_one", "missing"), [("USERNAME", "password"), ("PASSWORD", "username")])
def test_a_login_is_whole(given_one: str, missing: str) -> None:
    with pytest.raises(HalfOfALogin, match=f"{missing} is empty"):
        read_inputs({"INPUT_MODEL": "m", f"MBUILD_REGISTRY_{given_one}": "x"})


def test_elsewhere_it_says_what_to_run() -> None:
    with pytest.raises(NotOnARunner) as raised:
        runner_file("GITHUB_OUTPUT", {"GITHUB_OUTPUT": ""})
    assert "mbuild build" in raised.value.advice


def test_the_cache_goes_by_what_is_built() -> None:
    one = given(TARGET="cpu", SERVER="http")
    key, others = one.cache_keys("amd64", "1.0", "content")
    assert key != one.cache_keys("amd64", "1.0", "other content")[0]
    assert key != one.cache_keys("amd64", "1.1", "content")[0]
    assert all(key.startswith(other) for other in others.splitlines())
    assert others.splitlines()[1] == "mbuild-amd64-cpu-http-"
    other = read_inputs({"INPUT_MODEL": "more/digits", "INPUT_TARGET": "cpu", "INPUT_SERVER": "http"})
    assert other.cache_keys("amd64", "1.0", "content")[1].splitlines()[0] != others.splitlines()[0]


def test_a_key_is_one_that_github_takes() -> None:
    inputs = read_inputs({"INPUT_MODEL": "models/a, b\n" + "x" * 300, "INPUT_TARGET": "t," * 300})
    key, _ = inputs.cache_keys("amd64", "1.0", "content")
    assert re.fullmatch(r"[\w.-]+", key) and len(key) < 512


def test_outputs_of_a_push() -> None:
    value = result(push=push("here:5000/m@sha256:1", "1"))
    value["image"]["reference"] = "here:5000/m@sha256:1"
    outputs = outputs_of(value, ("here:5000/m:1", "here:5000/m:2"), Path("/tmp/r.json"))
    assert outputs["image"] == "here:5000/m@sha256:1"
    assert outputs["tags"] == "here:5000/m:1\nhere:5000/m:2"
    assert (outputs["size"], outputs["ready-seconds"], outputs["report"]) == ("16500000", "0.412", "/tmp/r.json")


def test_outputs_without_push_and_test() -> None:
    outputs = outputs_of(result(test=None), (), Path("/tmp/r.json"))
    assert (outputs["image"], outputs["tags"], outputs["ready-seconds"]) == ("", "", "")


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.a", "x"),
        ("inputs.none", ""),
        ("inputs.none || 'it''s'", "it's"),
        ("inputs.a == 'X'", "true"),
        ("inputs.a != 'x'", ""),
        ("inputs.none && 'b' || 'c'", "c"),
        ("inputs.a && inputs.none == '' && 'b' || 'c'", "b"),
    ],
)
def test_the_runner_of_these_tests_reads_expressions(expression: str, value: str) -> None:
    assert evaluate(expression, {"inputs": {"a": "x"}}) == value


def test_the_runner_of_these_tests_reads_workflow_commands() -> None:
    log = (
        "::error title=a::b%0Ac%25\n  ::warning::w\n::stop-commands::12ab\n::error::quoted\n::12ab::\n::notice::n\nx::y"
    )
    assert annotations(log) == [("error", "a", "b\nc%"), ("warning", "", "w"), ("notice", "", "n")]
