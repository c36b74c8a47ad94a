"""What applying a document would change of what runs."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import yaml

from builder.deploy.compared import compare_document
from builder.deploy.documents import to_yaml
from builder.deploy.kubernetes import kubernetes_documents
from builder.deploy.pod import PodOptions
from builder.deploy.wanted import Reach, Wanted
from tests.support.deployed import CPU, SERVED


def deployment(case: str = "http-cpu", wanted: Wanted | None = None) -> dict[str, Any]:
    made = kubernetes_documents(SERVED[case], wanted or Wanted(replicas=1))
    (found,) = (each for each in yaml.safe_load_all(to_yaml(made)) if each["kind"] == "Deployment")
    return dict(found)


def applied(document: dict[str, Any]) -> dict[str, Any]:
    """As a cluster has it after kubectl applied it."""
    live = copy.deepcopy(document)
    last = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(document)}
    live["metadata"] |= {"uid": "1", "annotations": {**document["metadata"].get("annotations", {}), **last}}
    live["status"] = {"readyReplicas": 1}
    live["spec"]["template"]["spec"]["restartPolicy"] = "Always"
    return live


def changed(after: dict[str, Any], live: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {one.path: (one.before, one.after) for one in compare_document(after, live).fields}


def test_what_the_cluster_adds_is_no_change() -> None:
    assert not compare_document(deployment(), applied(deployment())).is_change


def test_what_is_not_there_is_new() -> None:
    found = compare_document(deployment(), None)
    assert (found.kind, found.name, found.is_new, found.is_change) == ("Deployment", "digits", True, True)


@pytest.mark.parametrize(("live", "same"), [("1000m", True), (1, True), ("1.0", True), ("2", False), ("1500m", False)])
def test_an_amount_has_many_spellings(live: Any, same: bool) -> None:
    there = applied(deployment())
    there["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] = live
    path = "spec.template.spec.containers[server].resources.limits.cpu"
    assert changed(deployment(), there) == ({} if same else {path: (live, "1")})


def test_text_that_looks_like_an_amount_is_text() -> None:
    there = applied(deployment())
    there["spec"]["selector"]["matchLabels"]["mbuild.dev/track"] = "1"
    new = deployment()
    new["spec"]["selector"]["matchLabels"]["mbuild.dev/track"] = "1000m"
    new["metadata"]["labels"]["other"], there["metadata"]["labels"]["other"] = "1.0", "1"
    assert "metadata.labels.other" in changed(new, there)


def test_what_was_applied_and_is_no_more_goes() -> None:
    before = deployment(wanted=Wanted(replicas=1, pod=PodOptions(pull_secrets=("login",))))
    assert changed(deployment(), applied(before)) == {
        "spec.template.spec.imagePullSecrets": ([{"name": "login"}], None)
    }


def test_what_somebody_else_added_stays() -> None:
    there = applied(deployment())
    there["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "mesh:1"})
    there["spec"]["template"]["spec"]["tolerations"] = [{"key": "spot"}]
    assert not compare_document(deployment(), there).is_change


def test_a_gpu_that_is_no_longer_asked_for_goes() -> None:
    there = applied(deployment("http-cuda12"))
    found = changed(deployment(), there)
    assert found["spec.template.spec.containers[server].resources.limits.nvidia.com/gpu"] == (1, None)
    assert found["spec.template.spec.tolerations"][1] is None


def test_a_list_of_another_length_is_one_change() -> None:
    there = applied(deployment())
    there["spec"]["template"]["spec"]["topologySpreadConstraints"].pop()
    assert list(changed(deployment(), there)) == ["spec.template.spec.topologySpreadConstraints"]


def test_an_annotation_that_is_no_json_counts_for_nothing() -> None:
    there = applied(deployment())
    there["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = "{"
    assert not compare_document(deployment(), there).is_change


def test_decisions_are_read_back() -> None:
    wanted = Wanted(
        namespace="prod",
        replicas=3,
        most=5,
        cpu="2",
        memory="2Gi",
        weights_volume=True,
        pod=PodOptions(pull_secrets=("a", "b"), env=(("A", "1"),), env_from=("c",), gpus=2, by_gpu_labels=False),
        reach=Reach(gateway="infra/public", hosts=("a.example",), from_namespaces=("web",), service_monitor=True),
    )
    assert Wanted.from_text(wanted.to_text(), "prod") == wanted
    made = list(kubernetes_documents(CPU, wanted))
    (said,) = (each for each in made if each["kind"] == "Deployment")
    assert Wanted.from_text(said["metadata"]["annotations"]["mbuild.dev/wanted"], "prod") == wanted


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pod":{},"reach":{},"sides":2}', '{"pod":{"a":1},"reach":{}}'])
def test_decisions_of_another_mbuild_are_none(text: str) -> None:
    assert Wanted.from_text(text, "") is None


def test_decisions_that_are_none_are_none() -> None:
    assert Wanted.from_text(Wanted().to_text().replace('"most":0', '"most":1'), "") is None
