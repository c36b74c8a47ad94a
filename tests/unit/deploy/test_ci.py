"""What is written for GitHub and for Kubernetes is what they take, by their own schemas."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from builder.deploy.documents import to_yaml
from builder.deploy.github import MalformedAction, github_workflow
from builder.deploy.jobs import JobSettings, build_jobs
from builder.oci.platform import Platform
from builder.plan.fleet import PlannedMember
from tests.support.github_actions import ROOT, vendored_schema

MEMBERS = (
    PlannedMember(name="digits", path="models/digits", target="cpu", tag="registry.example:5000/team/digits:1.0.0"),
    PlannedMember(
        name="a_b.c", path="models/it's $HERE", target="cuda12", tag="registry.example:5000/team/a_b.c:2.0.0"
    ),
)
SETTINGS = (
    JobSettings(image="acme/mbuild:1", models="models"),
    JobSettings(image="acme/mbuild:1", models="models", cache="cache", secret="login"),
)


def test_a_workflow() -> None:
    text = to_yaml([github_workflow(MEMBERS, "acme/mbuild@v1")], "two\nlines")
    assert text.startswith("# two\n# lines\nname: models\n")
    workflow = yaml.safe_load(text)
    jsonschema.validate(workflow, vendored_schema("github-workflows"))
    job = workflow["jobs"]["build"]
    assert [row["model"] for row in job["strategy"]["matrix"]["include"]] == ["models/digits", "models/it's $HERE"]
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    _, use = job["steps"]
    assert use["uses"] == "acme/mbuild@v1"
    assert use["with"]["tags"] == "${{ matrix.tag }}" and use["with"]["push"] is True
    assert set(use["with"]) <= set(action["inputs"])
    assert "platforms" not in use["with"]


@pytest.mark.parametrize("action", ["acme/mbuild@v1", "acme/tools/mbuild@0123abc", "./", "./.github/actions/mbuild"])
def test_where_the_action_is(action: str) -> None:
    assert github_workflow(MEMBERS, action)["jobs"]["build"]["steps"][-1]["uses"] == action


@pytest.mark.parametrize("action", ["", "mbuild", "acme/mbuild", "acme/mbuild@", "acme/mbuild@v1 x", "/acme/mbuild@v1"])
def test_what_names_no_action_is_refused(action: str) -> None:
    with pytest.raises(MalformedAction, match="does not name an action"):
        github_workflow(MEMBERS, action)


def test_both_systems_build_for_the_platforms_asked_for() -> None:
    platforms = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))
    members = [replace(member, platforms=platforms) for member in MEMBERS]
    job = github_workflow(members, "acme/mbuild@v1")["jobs"]["build"]
    assert job["steps"][-1]["with"]["platforms"] == "linux/amd64,linux/arm64"
    (document,) = build_jobs(members[:1], SETTINGS[0])
    command = document["spec"]["template"]["spec"]["containers"][0]["command"]
    assert command[command.index("--platform") + 1] == "linux/amd64,linux/arm64"


@pytest.mark.parametrize("settings", SETTINGS)
def test_jobs(settings: JobSettings) -> None:
    documents: list[dict[str, Any]] = list(yaml.safe_load_all(to_yaml(build_jobs(MEMBERS, settings))))
    assert [document["metadata"]["name"] for document in documents] == ["mbuild-digits-cpu", "mbuild-a-b-c-cuda12"]
    for document in documents:
        kubernetes_validate.validate(document, "1.30", strict=True)
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert {mount["name"] for mount in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert documents[1]["spec"]["template"]["spec"]["containers"][0]["command"][2] == "/work/models/models/it's $HERE"
