"""An image from the registry to one machine: the Compose file starts it as it says, and what watches it sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.deploy.monitoring.watched import Watched
from tests.scenarios.conftest import ROOT, Mbuild
from tests.support.prometheus import questions, require_all, require_healthy_rules, scraping
from tests.support.registries import SecuredRegistry
from tests.support.servers import ask
from tests.support.services import free_port
from tests.support.tools import run_tool
from tests.support.waiting import until_ready

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.registry]
DIGIT = {"inputs": [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]}


@dataclass(frozen=True)
class Stack:
    """A Compose file that is up; ``reference`` is the image in its registry."""

    reference: str
    file: Path
    address: str
    environ: dict[str, str]

    def compose(self, *words: str) -> str:
        return run_tool("docker-compose", "-f", str(self.file), *words, env=self.environ)


def by_kind(documents: str) -> dict[str, Any]:
    return {each["kind"]: each for each in yaml.safe_load_all(documents) if each}


@pytest.fixture
def stack(
    mbuild: Mbuild, registry: SecuredRegistry, registry_environ: dict[str, str], docker_engine: Any, tmp_path: Path
) -> Iterator[Stack]:
    reference, port = str(registry.fresh("digits")), free_port()
    mbuild.json("build", ROOT / "examples" / "digits", "--tag", reference, "--push", **registry_environ)
    words = (
        "-o",
        tmp_path / "stack",
        "--publish",
        str(port),
        "--name",
        f"digits-{port}",
        "--env",
        "MBUILD_SERVER_NAME=a$b",
    )
    done = mbuild("deploy", "compose", reference, *words, **registry_environ)
    assert done.returncode == 0, done.stderr
    environ = {"DOCKER_CONFIG": registry_environ["DOCKER_CONFIG"], "DOCKER_HOST": os.environ.get("DOCKER_HOST", "")}
    found = Stack(reference, Path(done.stdout.strip()), f"127.0.0.1:{port}", environ)
    try:
        found.compose("up", "--detach", "--quiet-pull")
        until_ready(found.address, seconds=60)
        yield found
    finally:
        found.compose("down", "--volumes", "--rmi", "all", "--timeout", "5")


def test_from_the_registry_to_a_dashboard(
    mbuild: Mbuild, stack: Stack, registry_environ: dict[str, str], docker_engine: Any, tmp_path: Path
) -> None:
    ((name, service),) = yaml.safe_load(stack.file.read_text())["services"].items()
    (container,) = docker_engine.containers.list(filters={"label": f"com.docker.compose.project={name}"})
    limits, state = container.attrs["HostConfig"], container.attrs["State"]
    assert service["image"].startswith(stack.reference.rpartition(":")[0]) and "@sha256:" in service["image"]
    assert limits["ReadonlyRootfs"] and limits["CapDrop"] == ["ALL"] and "/tmp" in limits["Tmpfs"]
    assert limits["Memory"] == limits["MemorySwap"] == int(service["mem_limit"].removesuffix("m")) << 20
    assert limits["NanoCpus"] == 10**9 and "no-new-privileges:true" in limits["SecurityOpt"]
    assert state["Health"]["Status"] in ("starting", "healthy") and container.attrs["Config"]["StopTimeout"] == 30
    assert container.attrs["Config"]["Healthcheck"]["StartPeriod"] == 60 * 10**9

    assert ask(stack.address, "GET", "/v2").json()["name"] == "a$b"

    # What `helm test` does: the image asks another container of its own for readiness.
    asking = {"environment": {"MBUILD_HOST": name, "MBUILD_PORT": "8000"}, "network": f"{name}_default"}
    docker_engine.containers.run(service["image"], ["health"], remove=True, read_only=True, **asking)

    chart = tmp_path / "chart"
    assert mbuild("deploy", "helm", stack.reference, "-o", chart, **registry_environ).returncode == 0
    documents = mbuild("deploy", "kubernetes", stack.reference, **registry_environ).stdout
    rendered = run_tool("helm", "template", "digits", str(chart), "--skip-tests")
    there = by_kind(documents)
    del there["Deployment"]["metadata"]["annotations"]["mbuild.dev/wanted"]
    assert by_kind(rendered) == there

    words = ("-o", tmp_path / "watch", "--job", "digits", "--platform", "linux/amd64")
    done = mbuild("deploy", "monitoring", stack.reference, *words, **registry_environ)
    assert done.returncode == 0, done.stderr
    rules = yaml.safe_load((tmp_path / "watch" / "rules.yaml").read_text())
    assert "ModelServerSlow" in str(rules), "the build measured a latency"

    def asked() -> None:
        for _ in range(20):
            assert ask(stack.address, "POST", "/v2/models/digits/infer", DIGIT).status == 200

    watched = Watched(name="digits", job="digits", server="http", on_gpu=False, p99_seconds=0.01)
    with scraping({"digits": stack.address}, rules, tmp_path) as prometheus:
        told = ask(stack.address, "GET", "/metrics").body.decode()
        without = ("mbuild_auth_failures", "mbuild_traces")  # neither keys nor traces are on
        expressions = [one for one in questions(watched, told) if not any(name in one for name in without)]
        assert any("mbuild_container_memory_limit_bytes" in one for one in expressions)
        asked()
        require_all(prometheus, expressions)
        require_healthy_rules(prometheus, watched)

    stack.compose("stop")
    container.reload()
    assert container.attrs["State"]["ExitCode"] == 0, "it stops by itself, in time"
