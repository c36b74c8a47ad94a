"""What is written for GitHub and for Kubernetes is what they take, by their own schemas."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from builder.deploy.documents import to_yaml
from builder.deploy.github import github_workflow
from builder.deploy.jobs import JobSettings, build_jobs
from builder.oci.platform import Platform
from builder.plan.fleet import PlannedMember

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
    text = to_yaml([github_workflow(MEMBERS, "1.2.3")], "two\nlines")
    assert text.startswith("# two\n# lines\nname: models\n")
    workflow = yaml.safe_load(text)
    schemas = files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "github-workflows.json").read_text())
    jsonschema.validate(workflow, schema)
    job = workflow["jobs"]["build"]
    assert [row["model"] for row in job["strategy"]["matrix"]["include"]] == ["models/digits", "models/it's $HERE"]
    shell = [step["run"] for step in job["steps"] if "run" in step]
    assert not any("${{" in line for line in shell)
    assert "pip install mbuild==1.2.3" in shell
    assert shell[-1] == 'mbuild build "$MODEL" --target "$TARGET" --tag "$TAG" --push'
    assert not any("qemu" in line for line in shell)


def test_both_systems_build_for_the_platforms_asked_for() -> None:
    platforms = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))
    members = [replace(member, platforms=platforms) for member in MEMBERS]
    job = github_workflow(members, "1.2.3")["jobs"]["build"]
    shell = [step["run"] for step in job["steps"] if "run" in step]
    assert "--platform linux/amd64,linux/arm64 " in shell[-1]
    assert any("qemu-user" in line for line in shell)
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
