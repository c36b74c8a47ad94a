"""What is written for GitHub and for Kubernetes is what they take, by their own schemas."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from builder.deploy.documents import to_yaml
from builder.deploy.github import github_workflow
from builder.deploy.jobs import JobSettings, build_jobs
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
