"""Helm itself renders the charts: with their own values they are the documents of ``mbuild deploy
kubernetes``."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from builder.deploy.documents import Document
from builder.deploy.helm.chart import chart_files
from builder.deploy.kubernetes import kubernetes_documents
from builder.deploy.pod import PodOptions
from builder.deploy.schemas import BUNDLED, require_valid
from builder.deploy.served import Served
from builder.deploy.wanted import WANTED, Reach, Wanted
from tests.support.deployed import CPU, SERVED
from tests.support.tools import find_tool, run_tool

TLS = {"host": "models.example.com", "className": "nginx", "tlsSecret": "models-tls"}
INGRESS = Reach(ingress="models.example.com", ingress_class="nginx", tls_secret="models-tls")
CHOICES: tuple[tuple[dict[str, Any], Wanted], ...] = (
    ({"ingress": TLS}, Wanted(reach=INGRESS)),
    ({"ingress": {"host": "a.example.com"}}, Wanted(reach=Reach(ingress="a.example.com"))),
    ({"serviceMonitor": {"enabled": True}}, Wanted(reach=Reach(service_monitor=True))),
    ({"networkPolicy": {"fromNamespaces": ["web", "ops"]}}, Wanted(reach=Reach(from_namespaces=("web", "ops")))),
    (
        {"ingress": TLS, "networkPolicy": {"fromNamespaces": ["web"]}, "serviceMonitor": {"enabled": True}},
        Wanted(reach=replace(INGRESS, service_monitor=True, from_namespaces=("web",))),
    ),
    ({"replicas": 3, "maxReplicas": 3}, Wanted(replicas=3, most=3)),
    ({"replicas": 1, "maxReplicas": 1}, Wanted(replicas=1)),
    ({"replicas": 1, "maxReplicas": 4}, Wanted(replicas=1, most=4)),
    ({"pullSecrets": [{"name": "login"}]}, Wanted(pod=PodOptions(pull_secrets=("login",)))),
)


def chart(served: Served, wanted: Wanted, directory: Path) -> Path:
    for name, text in chart_files(served, wanted).items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def rendered(directory: Path, values: dict[str, Any], *words: str, release: str = "digits") -> dict[str, Any]:
    """By kind; the Pod is the one of ``helm test``."""
    (directory / "given.yaml").write_text(yaml.safe_dump(values))
    text = run_tool("helm", "template", release, str(directory), "-f", str(directory / "given.yaml"), *words)
    return {each["kind"]: each for each in yaml.safe_load_all(text) if each}


def expected(served: Served, wanted: Wanted) -> dict[str, Document]:
    """Without what a Deployment says of the options that it was written with: a release has values instead."""
    documents = {each["kind"]: each for each in kubernetes_documents(served, wanted)}
    del documents["Deployment"]["metadata"]["annotations"][WANTED]
    return documents


@pytest.mark.parametrize("case", SERVED)
def test_with_its_own_values_a_chart_is_the_documents(case: str, tmp_path: Path) -> None:
    served = SERVED[case]
    pod = PodOptions(gpus=2, env=(("MBUILD_GRACE_SECONDS", "40"),), env_from=("keys",))
    for wanted in (Wanted(), Wanted(replicas=4, most=6, cpu="500m", memory="3Gi", pod=pod)):
        found = rendered(chart(served, wanted, tmp_path), {}, "--skip-tests")
        assert found == expected(served, wanted)


@pytest.mark.parametrize(("values", "wanted"), CHOICES)
def test_a_value_does_what_the_option_does(values: dict[str, Any], wanted: Wanted, tmp_path: Path) -> None:
    directory = chart(CPU, Wanted(), tmp_path)
    assert rendered(directory, values, "--skip-tests") == expected(CPU, wanted)


@pytest.mark.parametrize("case", ["http-cpu", "triton-cuda12"])
def test_helm_and_kubernetes_take_it(case: str, tmp_path: Path) -> None:
    directory = chart(SERVED[case], Wanted(), tmp_path)
    run_tool("helm", "lint", "--strict", "--quiet", str(directory))
    every = {
        "ingress": TLS,
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "env": [{"name": "MBUILD_QUEUE", "value": "64"}],
        "args": ["--log-verbose=1"],
        "maxReplicas": 9,
        "global": {"anything": 1},
    }
    found = rendered(directory, every, release="another-name")
    assert ("Pod" in found) is (case == "http-cpu"), "in Triton's image nothing could ask"
    assert found["ServiceMonitor"]["metadata"]["labels"]["release"] == "prometheus"
    deployment = found["Deployment"]
    assert deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] == "another-name"
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["env"] == every["env"] and container["args"] == every["args"]
    require_valid(document for kind, document in found.items() if kind != "Pod")
    for version in BUNDLED:
        for kind in found.keys() - {"ServiceMonitor"}:
            kubernetes_validate.validate(found[kind], version, strict=True)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"replica": 3}, "replica"),
        ({"image": {"digest": "latest"}}, "digest"),
        ({"ingress": {"hosts": ["a"]}}, "hosts"),
        ({"replicas": 0}, "replicas"),
    ],
)
def test_a_value_that_the_chart_does_not_have_is_refused(values: dict[str, Any], says: str, tmp_path: Path) -> None:
    (chart(CPU, Wanted(), tmp_path) / "given.yaml").write_text(yaml.safe_dump(values))
    command = [find_tool("helm"), "template", "digits", str(tmp_path), "-f", str(tmp_path / "given.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "schema" in done.stderr and says in done.stderr


def test_braces_of_a_model_are_no_template(tmp_path: Path) -> None:
    (model,) = CPU.face.models
    face = replace(CPU.face, version="{{ fail }}", models=(replace(model, version='{{ fail "x" }}'),))
    served = replace(CPU, face=face)
    found = rendered(chart(served, Wanted(), tmp_path), {}, "--skip-tests")
    assert found == expected(served, Wanted())
    assert '{{ fail "x" }}' in found["Deployment"]["metadata"]["annotations"]["mbuild.dev/models"]
    about = yaml.safe_load((tmp_path / "Chart.yaml").read_text())
    assert about["version"].startswith("0.1.0+sha256.") and about["appVersion"] == "{{ fail }}"
