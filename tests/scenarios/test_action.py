"""The action, on a runner without Docker: the steps of action.yml, out of a clean clone, with what a runner sets."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
import requests

from builder.host import Host
from tests.scenarios.conftest import ROOT
from tests.support.github_actions import Job, Ran
from tests.support.registries import SecuredRegistry

SCHEMA = json.loads((ROOT / "builder" / "schemas" / "result.schema.json").read_text())
MACHINE = ("PIP_", "UV_", "SSL_", "HTTP", "http", "NO_PROXY", "no_proxy", "LANG", "LC_")
"""How the tests' machine reaches package indexes, and its language."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed."""
    place = tmp_path_factory.mktemp("action") / "mbuild"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(place)], check=True)
    return place


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests, as for all steps of a job: mbuild is installed once."""
    return tmp_path_factory.mktemp("runner")


@pytest.fixture
def job(tmp_path: Path, temporary: Path, registry: SecuredRegistry, host: Host) -> Job:
    """After docker/login-action. The packages that mbuild needs are the tests' own, which pip finds to be enough."""
    login = tmp_path / "home" / ".docker"
    certificates = login / "certs.d" / registry.name
    certificates.mkdir(parents=True)
    shutil.copyfile(registry.ca, certificates / "ca.crt")
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    (login / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}))
    settings = Path.home() / ".config" / "pip" / "pip.conf"
    environ = {
        **{name: value for name, value in os.environ.items() if name.startswith(MACHINE)},
        **({"PIP_CONFIG_FILE": str(settings)} if settings.is_file() else {}),
        "PYTHONPATH": next(place for place in sys.path if place.endswith("site-packages")),
        "MBUILD_CACHE": str(host.store.root),
        "DOCKER_HOST": f"unix://{tmp_path}/no-docker-here.sock",
    }
    workspace = tmp_path / "workspace"
    shutil.copytree(ROOT / "examples" / "digits", workspace / "models" / "digits")
    (workspace / "models" / "digits" / "mbuild.lock").unlink(missing_ok=True)
    answers = {"actions/setup-python": {"python-path": sys.executable}, "actions/cache": {}}
    return Job(home=tmp_path / "home", workspace=workspace, temporary=temporary, environ=environ, answers=answers)


@pytest.mark.registry
@pytest.mark.network
def test_an_image_is_pushed_and_the_page_tells_of_it(job: Job, clone: Path, registry: SecuredRegistry) -> None:
    place = f"{registry.name}/{registry.fresh('action').repository}"
    tags = f"{place}:1.0.0\n{place}-too:latest\n"
    ran = job.use(clone, model="digits", working_directory="models", tags=tags, push="true", cache="false")
    assert ran.code == 0, ran.log

    digest = ran.outputs["digest"]
    assert ran.outputs["image"] == f"{place}@{digest}"
    assert ran.outputs["tags"].splitlines() == tags.split()
    assert float(ran.outputs["ready-seconds"]) > 0
    for tag in tags.split():
        assert digest_there(tag, registry) == digest

    result = json.loads(Path(ran.outputs["report"]).read_text())
    jsonschema.validate(result, SCHEMA)
    assert (result["image"]["digest"], str(result["image"]["size"])) == (digest, ran.outputs["size"])
    assert result["test"]["runner"] == "embedded"

    assert ran.annotations == []
    assert ran.used == {"actions/setup-python": {"python-version": "3.13", "update-environment": "false"}}
    for told in (f"| image | `{place}@{digest}` |", "| 3 right |", "pie showData", f"`{place}-too:latest`"):
        assert told in ran.summary
    for fold in ("::group::Install mbuild", "::group::push"):
        assert fold in ran.log


def digest_there(tag: str, registry: SecuredRegistry) -> str:
    repository, _, name = tag.removeprefix(f"{registry.name}/").rpartition(":")
    answer = requests.head(
        f"https://{registry.name}/v2/{repository}/manifests/{name}",
        headers={"Accept": "application/vnd.oci.image.manifest.v1+json"},
        auth=(registry.user, registry.password),
        verify=str(registry.ca),
        timeout=60,
    )
    assert answer.status_code == 200
    return str(answer.headers["Docker-Content-Digest"])


Failed = Callable[..., Ran]


@pytest.fixture
def failed(job: Job, clone: Path) -> Failed:
    """A use that fails, which must say so on the page and beside the run, once, and put nothing out."""

    def use(code: str, **inputs: str) -> Ran:
        ran = job.use(clone, **{"working_directory": "models", **inputs})
        assert ran.code != 0
        assert [(kind, title) for kind, title, _ in ran.annotations] == [("error", f"mbuild {code}")], ran.log
        assert ran.summary.count("no image") == 1 and f"error ({code}): " in ran.summary
        assert set(ran.outputs.values()) == {""}
        assert not [*job.workspace.rglob("canary*"), *job.temporary.glob("canary*")]
        return ran

    return use


@pytest.mark.registry
@pytest.mark.network
def test_a_model_that_cannot_be_built_fails_the_job(failed: Failed, job: Job) -> None:
    (job.workspace / "models" / "broken").mkdir()
    (job.workspace / "models" / "broken" / "model.onnx").write_bytes(b"no model")
    ran = failed("broken-onnx", model="broken", push="true", tags="localhost:1/broken:1")
    assert ran.used["actions/cache"]["path"] == job.environ["MBUILD_CACHE"]
    key, others = ran.used["actions/cache"]["key"], ran.used["actions/cache"]["restore-keys"].splitlines()
    assert all(key.startswith(other) for other in others) and "," not in key
    hint = ran.annotations[0][2].splitlines()[-1]
    assert hint and hint in ran.summary


@pytest.mark.registry
@pytest.mark.network
@pytest.mark.parametrize(
    ("code", "inputs"),
    [
        ("model-directory-missing", {"model": "\"'`$(touch canary)\n::error title=forged::it is"}),
        ("malformed-reference", {"model": "digits", "tags": '"; touch canary; $(touch canary)\n::error::forged'}),
        ("arguments-refused", {"model": "digits", "args": "--no-such-option $(touch canary); touch canary"}),
        ("action-input-refused", {"model": "digits", "push": "true && touch canary"}),
    ],
)
def test_no_input_is_more_than_a_value(failed: Failed, code: str, inputs: dict[str, str]) -> None:
    failed(code, **inputs)
