"""A real kubectl takes what mbuild writes, and tells mbuild what runs. The API server is scripted: it keeps documents
and runs no pod."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from builder.cli.app import main
from builder.cli.deploy import find_all
from builder.deploy.canary import canary_documents
from builder.deploy.documents import Document, to_yaml
from builder.deploy.kserve import kserve_documents
from builder.deploy.kubernetes import kubernetes_documents
from builder.deploy.kustomize import kustomize_files
from builder.deploy.schemas import require_valid
from builder.deploy.served import Served
from builder.deploy.wanted import Reach, Wanted
from builder.errors import RegistryError
from builder.host import Host
from builder.host.kubectl import ClusterRefused, Kubectl, KubectlMissing
from builder.host.run import SystemRunner
from builder.oci.digest import Digest
from builder.oci.reference import Reference
from builder.pipeline.packages.existing import push_layout
from builder.pipeline.running.deploy import NoWeightsImage, find_served, with_weights_volume
from builder.pipeline.running.rollout import Rollout, compare_rollout
from builder.plan.spec import Attachment
from builder.registry.push import push
from tests.support.deployed import CPU, SERVED
from tests.support.faces import FACE
from tests.support.hosts import real_host
from tests.support.registry_answers import BasicAuth
from tests.support.scripted_cluster import ScriptedCluster
from tests.support.scripted_registry import ScriptedRegistry
from tests.support.tiny_image import AMD64, tiny_layout
from tests.support.tools import find_tool, run_tool


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedCluster]:
    find_tool("kubectl")
    with ScriptedCluster(tmp_path) as running:
        for name, value in running.environ.items():
            monkeypatch.setenv(name, value)
        yield running


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return real_host(tmp_path / "cache", {})


KUBECTL = Kubectl(run=SystemRunner(), namespace="prod")


def layout(directory: Path, version: str = "1.0.0") -> str:
    labels = replace(FACE, version=version).to_labels()
    return str(tiny_layout(directory / version, labels=labels, weights=version.encode()).path)


def found(image: str, host: Host) -> Served:
    return find_served(image, AMD64, host, repository="registry.example/team/digits")


def apply(documents: list[Document], *options: str) -> str:
    """Without the client's own validation, for which the server would have to have Kubernetes' whole OpenAPI."""
    command = [find_tool("kubectl"), "apply", "--validate=false", "--filename=-", *options]
    done = subprocess.run(command, input=to_yaml(documents).encode(), capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def changes(rollout: Rollout) -> dict[str, list[str]]:
    return {one.kind: [each.path for each in one.fields] for one in rollout.documents if one.is_change}


def test_from_nothing_to_a_canary(tmp_path: Path, cluster: ScriptedCluster, host: Host) -> None:
    old, new = layout(tmp_path), layout(tmp_path, "1.1.0")
    served, wanted = found(old, host), Wanted(namespace="prod", replicas=3, memory="1Gi")

    nothing = compare_rollout(old, served, KUBECTL, host)
    assert nothing.before == ""
    assert all(one.is_new for one in nothing.documents)

    apply(list(kubernetes_documents(served, wanted)))
    same = compare_rollout(old, served, KUBECTL, host)
    assert (same.is_change, same.remark, same.before) == (False, "", str(served.image))

    other = found(new, host)
    differs = compare_rollout(new, other, KUBECTL, host)
    assert changes(differs) == {"Deployment": ["spec.template.spec.containers[server].image"]}
    assert "what the two images say of themselves is not known" in differs.remark  # no registry answers

    apply(list(canary_documents(served, other, wanted, 25)))
    tried = compare_rollout(new, other, KUBECTL, host)
    assert (tried.before, tried.canary) == (str(served.image), str(other.image))
    assert ("apps/v1", "deployments", "prod", "digits-canary") in cluster.stored


@pytest.mark.parametrize("case", ["http-cpu-in-two", "triton-cuda12"])
def test_a_dry_run_takes_everything(case: str, cluster: ScriptedCluster) -> None:
    reach = Reach(ingress="a.example", gateway="infra/public", service_monitor=True)
    wanted = Wanted(namespace="prod", most=9, reach=reach)
    documents = [*kubernetes_documents(SERVED[case], wanted), *kserve_documents(SERVED[case], wanted)]
    said = apply(documents, "--dry-run=client")
    assert said.count("created (dry run)") == len(documents)
    assert not cluster.stored


def test_the_images_are_compared(tmp_path: Path, cluster: ScriptedCluster) -> None:
    with ScriptedRegistry() as registry:
        host = real_host(tmp_path / "cache", {"MBUILD_PLAIN_HTTP": registry.name})
        references = [Reference(registry=registry.name, repository="digits", tag=tag) for tag in ("1.0.0", "1.1.0")]
        for reference in references:
            push(
                tiny_layout(tmp_path / reference.tag, labels=replace(FACE, version=reference.tag).to_labels()),
                reference,
                host,
            )
        old, new = (find_served(str(one), AMD64, host) for one in references)
        apply(list(kubernetes_documents(old, Wanted(namespace="prod"))))
        rollout = compare_rollout(str(references[1]), new, KUBECTL, host)
    assert rollout.remark == ""
    assert rollout.packages is not None
    assert ("version", "1.0.0", "1.1.0") in [(one.field, one.before, one.after) for one in rollout.packages.said]


def test_weights_of_their_own(tmp_path: Path, cluster: ScriptedCluster) -> None:
    """The whole image is what is compared, and its two parts are what is run."""
    with ScriptedRegistry() as registry:
        host = real_host(tmp_path / "cache", {"MBUILD_PLAIN_HTTP": registry.name})
        served, names = [], []
        for tag in ("1.0.0", "1.1.0"):
            reference = Reference(registry=registry.name, repository="digits", tag=tag)
            labels, roles = replace(FACE, version=tag).to_labels(), ("runtime", "model")
            made = tiny_layout(tmp_path / tag, labels=labels, roles=roles, weights=tag.encode())
            push_layout(made.path, reference, host, wanted=(Attachment.WEIGHTS_IMAGE,))
            served.append(with_weights_volume(find_served(str(reference), AMD64, host), host))
            names.append(str(reference))
        documents = require_valid(
            kubernetes_documents(served[0], Wanted(namespace="prod", weights_volume=True)), "1.36"
        )
        apply(list(documents))
        whole = find_served(names[0], AMD64, host)
        same = compare_rollout(names[0], whole, KUBECTL, host)
        assert (same.is_change, same.before) == (False, str(whole.image))
        differs = compare_rollout(names[1], find_served(names[1], AMD64, host), KUBECTL, host)
    pod = documents[3]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == str(served[0].volume and served[0].volume.server) != str(whole.image)
    assert {"name": "models", "mountPath": "/models", "subPath": "models", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]
    assert changes(differs)["Deployment"] == [
        "spec.template.spec.containers[server].image",
        "spec.template.spec.volumes[models].image.reference",
    ]
    assert differs.packages is not None
    assert (differs.packages.before.image, differs.remark) == (str(whole.image), "")


def test_an_image_without_weights_of_their_own(tmp_path: Path) -> None:
    with ScriptedRegistry() as registry:
        host = real_host(tmp_path / "cache", {"MBUILD_PLAIN_HTTP": registry.name})
        reference = Reference(registry=registry.name, repository="digits", tag="1")
        push(tiny_layout(tmp_path, labels=FACE.to_labels()), reference, host)
        with pytest.raises(NoWeightsImage, match="attached to"):
            with_weights_volume(find_served(str(reference), AMD64, host), host)


def test_a_password_goes_to_no_other_registry(tmp_path: Path, cluster: ScriptedCluster) -> None:
    """What runs may be from anywhere."""
    with ScriptedRegistry(auth=BasicAuth("ada", "secret")) as ours, ScriptedRegistry(auth=BasicAuth("b", "c")) as other:
        known = {"MBUILD_REGISTRY_USERNAME": "ada", "MBUILD_REGISTRY_PASSWORD": "secret"}
        host = real_host(tmp_path / "cache", {**known, "MBUILD_PLAIN_HTTP": f"{ours.name},{other.name}"})
        reference = Reference(registry=ours.name, repository="digits", tag="1.0.0")
        push(tiny_layout(tmp_path, labels=FACE.to_labels()), reference, host)
        served = find_served(str(reference), AMD64, host)
        elsewhere = replace(served, image=replace(served.image, registry=other.name))
        apply(list(kubernetes_documents(elsewhere, Wanted(namespace="prod"))))
        rollout = compare_rollout(str(reference), served, KUBECTL, host)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in host.environ.items():
                patch.setenv(name, value)
            with pytest.raises(RegistryError):
                find_all([str(reference), str(elsewhere.image)], "", "", "linux/amd64", "", False, False)
    assert rollout.before == str(elsewhere.image)
    assert "not known" in rollout.remark
    assert len(other.requests) > 1
    assert not [one for one in other.requests if one.headers.get("Authorization")]


def test_the_command(tmp_path: Path, cluster: ScriptedCluster, capsys: pytest.CaptureFixture[str]) -> None:
    old = layout(tmp_path)
    image = [old, "--repository", "registry.example/team/digits", "--namespace", "prod", "--platform", "linux/amd64"]

    with pytest.raises(SystemExit) as ended:
        main(["deploy", "kubernetes", *image, "--replicas", "4"])
    assert ended.value.code == 0
    apply(list(yaml.safe_load_all(capsys.readouterr().out)))

    with pytest.raises(SystemExit) as ended:
        main(["deploy", "diff", *image, "--exit-code"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert "the same image" in said
    assert "Deployment digits" in said

    cluster.stored["apps/v1", "deployments", "prod", "digits"]["spec"]["template"]["spec"]["containers"][0][
        "resources"
    ]["limits"]["memory"] = "64Mi"
    with pytest.raises(SystemExit) as ended:
        main(["deploy", "diff", *image, "--exit-code", "--format", "json"])
    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    (field,) = (each for one in told["documents"] for each in one["fields"])
    assert field["path"].endswith("limits.memory")
    assert field["before"] == "64Mi"


def test_what_somebody_else_deployed_is_said(tmp_path: Path, cluster: ScriptedCluster, host: Host) -> None:
    image = layout(tmp_path)
    documents = list(kubernetes_documents(found(image, host), Wanted(namespace="prod")))
    apply(documents)
    del cluster.stored["apps/v1", "deployments", "prod", "digits"]["metadata"]["annotations"]["mbuild.dev/wanted"]
    assert "does not say with which options" in compare_rollout(image, found(image, host), KUBECTL, host).remark


def test_kustomize_reads_the_directory(tmp_path: Path) -> None:
    documents = list(
        canary_documents(
            CPU,
            replace(CPU, image=replace(CPU.image, digest=Digest("sha256:" + "3" * 64))),
            Wanted(namespace="prod"),
            10,
        )
    )
    for name, text in kustomize_files(documents, CPU.name, "two\nlines").items():
        (tmp_path / name).write_text(text)
    built = list(yaml.safe_load_all(run_tool("kubectl", "kustomize", str(tmp_path))))
    assert sorted(map(_name, built)) == sorted(map(_name, documents))
    by_name = {_name(one): one for one in built}
    assert all(by_name[_name(one)] == one for one in documents)


def _name(document: Document) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def test_a_cluster_that_does_not_answer(
    tmp_path: Path, cluster: ScriptedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(ClusterRefused, match="could not read the Deployments"):
        Kubectl(run=SystemRunner(), context="elsewhere").deployments("a=b")


def test_no_kubectl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(KubectlMissing):
        KUBECTL.deployments("a=b")
