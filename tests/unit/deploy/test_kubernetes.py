"""Documents of every example, server and target, held against Kubernetes' own schemas, and what they say."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from builder.deploy.canary import SameImageTwice, canary_documents
from builder.deploy.documents import Document, to_yaml
from builder.deploy.kserve import kserve_documents
from builder.deploy.kubernetes import kubernetes_documents
from builder.deploy.kustomize import KUSTOMIZATION, kustomize_files, left_over
from builder.deploy.pod import PodOptions, PortIsNamed
from builder.deploy.schemas import (
    BUNDLED,
    DocumentRefused,
    NoImageVolumes,
    UnknownKubernetes,
    require_image_volumes,
    require_valid,
    versions_for,
)
from builder.deploy.served import Served, label_of
from builder.deploy.wanted import FewerAtMost, MalformedClusterName, Reach, Wanted
from builder.oci.digest import Digest
from tests.support.deployed import CPU, IMAGE, SERVED

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_dir())
EVERYTHING = Wanted(
    namespace="prod",
    replicas=3,
    most=9,
    pod=PodOptions(pull_secrets=("login",)),
    reach=Reach(
        ingress="models.example.com",
        ingress_class="nginx",
        tls_secret="models-tls",
        gateway="infra/public",
        hosts=("models.example.com",),
        service_monitor=True,
        from_namespaces=("web", "monitoring"),
    ),
)
NEW = replace(CPU, image=replace(IMAGE, digest=Digest("sha256:" + "2" * 64)))


def by_kind(documents: list[Document]) -> dict[str, Any]:
    return {each["kind"]: each for each in documents}


def pod_of(served: Served, wanted: Wanted = EVERYTHING) -> dict[str, Any]:
    made = by_kind(list(kubernetes_documents(served, wanted)))
    pod: dict[str, Any] = made["Deployment"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize("case", SERVED)
def test_kubernetes_takes_everything(case: str) -> None:
    documents = [*kubernetes_documents(SERVED[case], EVERYTHING), *kserve_documents(SERVED[case], EVERYTHING)]
    read = list(yaml.safe_load_all(to_yaml(require_valid(documents))))
    assert read == documents


@pytest.mark.parametrize("version", BUNDLED)
def test_an_independent_validator_takes_everything(version: str) -> None:
    custom = {"HTTPRoute", "ServiceMonitor"}
    for case in ("http-cpu", "triton-cuda12"):
        for document in kubernetes_documents(SERVED[case], EVERYTHING):
            if document["kind"] not in custom:
                kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_has_documents(example: str) -> None:
    said = ROOT / "examples" / example / "model.yaml"
    name = (yaml.safe_load(said.read_text()) or {}).get("name", example) if said.exists() else example
    for served in SERVED.values():
        made = require_valid(kubernetes_documents(replace(served, name=label_of(name)), Wanted()))
        assert [each["kind"] for each in made][:4] == ["ServiceAccount", "NetworkPolicy", "Service", "Deployment"]


def test_the_schemas_are_those_of_kubernetes_validate() -> None:
    loader = importlib.machinery.SourceFileLoader("kubernetes_schemas", str(ROOT / "scripts" / "kubernetes-schemas"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    script = importlib.util.module_from_spec(spec)
    loader.exec_module(script)
    assert script.VERSIONS == BUNDLED
    for version in BUNDLED:
        assert (ROOT / f"builder/schemas/kubernetes-{version}.json").read_text() == script.text(version)


def wrong_documents() -> list[tuple[str, Document]]:
    pod, port, kind, weight, unknown = (by_kind(_copied()) for _ in range(5))
    pod["Deployment"]["spec"]["template"]["spec"]["containers"][0]["imagePull"] = "Always"
    port["Service"]["spec"]["ports"][0]["port"] = "http"
    kind["Ingress"]["kind"] = "Ingres"
    weight["HTTPRoute"]["spec"]["rules"][0]["backendRefs"][0]["weight"] = -1
    unknown["ServiceMonitor"]["spec"]["endpoints"][0]["paht"] = "/metrics"
    (service,) = kserve_documents(CPU, Wanted())
    predictor = {**service["spec"]["predictor"], "replicas": 1}
    return [
        ("imagePull", pod["Deployment"]),
        ("'http' is not of type 'integer'", port["Service"]),
        ("no schema of networking.k8s.io/v1/Ingres", kind["Ingress"]),
        ("-1 is less than", weight["HTTPRoute"]),
        ("paht", unknown["ServiceMonitor"]),
        ("'replicas' was unexpected", {**service, "spec": {"predictor": predictor}}),
    ]


def _copied() -> list[Document]:
    return list(yaml.safe_load_all(to_yaml(kubernetes_documents(CPU, EVERYTHING))))


@pytest.mark.parametrize(("said", "document"), wrong_documents())
def test_what_kubernetes_does_not_take_is_not_written(said: str, document: Document) -> None:
    with pytest.raises(DocumentRefused, match=said):
        require_valid([document])


@pytest.mark.parametrize(
    ("asked", "bundled"),
    [("", BUNDLED), ("1.33", ("1.33",)), ("1.35", ("1.33",)), ("v1.36.2", ("1.36",)), ("1.40", ("1.36",))],
)
def test_the_schema_for_a_cluster(asked: str, bundled: tuple[str, ...]) -> None:
    assert versions_for(asked) == bundled


@pytest.mark.parametrize("asked", ["1.32", "new", "1"])
def test_a_cluster_that_is_too_old_or_none(asked: str) -> None:
    with pytest.raises(UnknownKubernetes, match=r"1\.33 and 1\.36"):
        versions_for(asked)


@pytest.mark.parametrize("case", SERVED)
def test_the_pod_is_restricted(case: str) -> None:
    pod = pod_of(SERVED[case])
    (container,) = pod["containers"]
    assert container["image"] == str(SERVED[case].runs)
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert pod["imagePullSecrets"] == [{"name": "login"}]


@pytest.mark.parametrize("case", SERVED)
def test_probes_ask_the_ports_that_there_are(case: str) -> None:
    (container,) = pod_of(SERVED[case])["containers"]
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (("startupProbe", "ready"), ("readinessProbe", "ready"), ("livenessProbe", "live")):
        asked = container[probe]["httpGet"]
        assert asked == {"path": f"/v2/health/{path}", "port": "http"}
    expected = {"http": 8000, "grpc": 8001, "metrics": 8002} if case.startswith("triton") else {"http": 8080}
    assert named == expected
    made = by_kind(list(kubernetes_documents(SERVED[case], EVERYTHING)))
    assert {port["targetPort"] for port in made["Service"]["spec"]["ports"]} == set(named)
    assert made["ServiceMonitor"]["spec"]["endpoints"][0]["port"] in named


def test_who_goes_takes_its_time() -> None:
    pod = pod_of(replace(CPU, grace_seconds=40))
    settle = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > settle + 40


def test_one_architecture_is_asked_for_and_several_are_not() -> None:
    assert pod_of(SERVED["http-cpu"])["nodeSelector"]["kubernetes.io/arch"] == "amd64"
    assert "kubernetes.io/arch" not in pod_of(SERVED["http-cpu-both"])["nodeSelector"]


def test_settings_of_the_server() -> None:
    options = PodOptions(env=(("MBUILD_ACCESS_LOG", "1"), ("MBUILD_GRACE_SECONDS", "90")), env_from=("keys",))
    wanted = Wanted(pod=options)
    pod = pod_of(CPU, wanted)
    (container,) = pod["containers"]
    assert container["env"][0] == {"name": "MBUILD_ACCESS_LOG", "value": "1"}
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    assert pod["terminationGracePeriodSeconds"] > 90
    (service,) = require_valid(kserve_documents(CPU, wanted))
    assert service["spec"]["predictor"]["containers"][0]["env"][0]["name"] == "PROTOCOL"


def test_the_port_is_the_images() -> None:
    with pytest.raises(PortIsNamed):
        PodOptions(env=(("MBUILD_PORT", "80"),))


def test_models_from_their_own_image() -> None:
    served = SERVED["http-cpu-in-two"]
    pod = pod_of(served)
    assert served.volume is not None
    (volume,) = (each for each in pod["volumes"] if each["name"] == "models")
    assert volume["image"]["reference"] == str(served.volume.weights)
    assert pod["containers"][0]["image"] == str(served.volume.server)


@pytest.mark.parametrize(("asked", "schema"), [("", "1.36"), ("1.35", "1.36"), ("1.36", "1.36"), ("1.37", "1.37")])
def test_clusters_with_image_volumes(asked: str, schema: str) -> None:
    assert require_image_volumes(asked) == schema


def test_a_cluster_without_image_volumes() -> None:
    with pytest.raises(NoImageVolumes, match=r"1\.34 has no image volumes"):
        require_image_volumes("1.34")


def fits(pod: dict[str, Any], driver: int, major: int, minor: int) -> bool:
    """As the scheduler reads node affinity: any term, all its expressions; Gt compares numbers."""
    node = {
        "nvidia.com/cuda.driver-version.major": driver,
        "nvidia.com/gpu.compute.major": major,
        "nvidia.com/gpu.compute.minor": minor,
    }
    terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return any(
        all(
            str(node[one["key"]]) in one["values"]
            if one["operator"] == "In"
            else node[one["key"]] > int(one["values"][0])
            for one in term["matchExpressions"]
        )
        for term in terms
    )


@pytest.mark.parametrize(
    ("case", "node", "expected"),
    [
        ("http-cuda12", (525, 7, 0), True),
        ("http-cuda12", (524, 8, 0), False),
        ("http-cuda12", (550, 6, 1), False),
        ("http-cuda12", (550, 8, 9), True),
        ("http-cuda12", (570, 12, 0), True),  # by PTX
        ("http-cuda13", (580, 7, 0), False),
        ("http-cuda13", (580, 7, 5), True),
        ("http-cuda13", (580, 11, 0), False),
        ("http-cuda13", (580, 13, 0), True),
        ("http-tensorrt", (535, 8, 9), True),
        ("http-tensorrt", (535, 8, 0), False),
        ("http-tensorrt", (535, 9, 0), False),
    ],
)
def test_nodes_whose_gpu_does_not_fit_are_left_out(case: str, node: tuple[int, int, int], expected: bool) -> None:
    assert fits(pod_of(SERVED[case]), *node) is expected


def test_a_gpu_is_asked_for() -> None:
    pod = pod_of(SERVED["http-cuda12"], Wanted(pod=PodOptions(gpus=2, by_gpu_labels=False)))
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == 2
    assert pod["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert "affinity" not in pod
    assert "nvidia.com/gpu" not in pod_of(CPU)["containers"][0]["resources"]["limits"]


@pytest.mark.parametrize(
    ("case", "wanted", "scaled", "budget"),
    [
        ("http-cpu", Wanted(), (2, 10), True),
        ("http-cpu", Wanted(replicas=1), None, False),
        ("http-cpu", Wanted(replicas=1, most=4), (1, 4), False),
        ("http-cpu", Wanted(replicas=3, most=3), None, True),
        ("http-cuda12", Wanted(), None, True),
        ("http-cuda12", Wanted(most=4), (2, 4), True),
    ],
)
def test_how_many_there_are(case: str, wanted: Wanted, scaled: tuple[int, int] | None, budget: bool) -> None:
    made = by_kind(list(kubernetes_documents(SERVED[case], wanted)))
    assert ("PodDisruptionBudget" in made) is budget
    if scaled is None:
        assert "HorizontalPodAutoscaler" not in made
        assert made["Deployment"]["spec"]["replicas"] == wanted.replicas
    else:
        spec = made["HorizontalPodAutoscaler"]["spec"]
        assert (spec["minReplicas"], spec["maxReplicas"]) == scaled
        assert "replicas" not in made["Deployment"]["spec"]
        assert spec["metrics"][0]["type"] == ("Pods" if case.endswith("cuda12") else "Resource")


def test_who_may_ask() -> None:
    def allowed(reach: Reach) -> list[Any]:
        policy = by_kind(list(kubernetes_documents(CPU, Wanted(reach=reach))))["NetworkPolicy"]["spec"]
        assert policy["egress"] == []
        assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8080}]
        found: list[Any] = policy["ingress"][0]["from"]
        return found

    here = {"podSelector": {}}
    assert allowed(Reach()) == [here]
    assert allowed(Reach(ingress="a.example")) == [here, {"namespaceSelector": {}}]
    web = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}
    assert allowed(Reach(ingress="a.example", from_namespaces=("web",))) == [here, web]


@pytest.mark.parametrize(("replicas", "percent", "pods"), [(2, 10, 1), (9, 10, 1), (18, 10, 2), (3, 50, 3), (1, 90, 9)])
def test_a_canary_joins_and_touches_nothing(replicas: int, percent: int, pods: int) -> None:
    wanted = Wanted(replicas=replicas)
    plain = list(kubernetes_documents(CPU, wanted))
    both = require_valid(canary_documents(CPU, NEW, wanted, percent))
    assert list(both[:-1]) == plain
    canary = both[-1]
    assert canary["metadata"]["name"] == "digits-canary"
    assert canary["spec"]["replicas"] == pods
    running = by_kind(plain)["Deployment"]["spec"]["selector"]["matchLabels"]
    labels = canary["spec"]["template"]["metadata"]["labels"]
    assert not running.items() <= labels.items()
    assert by_kind(plain)["Service"]["spec"]["selector"].items() <= labels.items()
    assert canary["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_gateway_weighs() -> None:
    both = require_valid(canary_documents(CPU, NEW, EVERYTHING, 10))
    backends = by_kind(list(both))["HTTPRoute"]["spec"]["rules"][0]["backendRefs"]
    assert {one["name"]: one["weight"] for one in backends} == {"digits-stable": 90, "digits-canary": 10}
    services = {each["metadata"]["name"]: each["spec"]["selector"] for each in both if each["kind"] == "Service"}
    deployments = {each["metadata"]["name"]: each["spec"]["template"] for each in both if each["kind"] == "Deployment"}
    for name, other in (("digits", "digits-canary"), ("digits-canary", "digits")):
        selector = services["digits-stable" if name == "digits" else name]
        assert selector.items() <= deployments[name]["metadata"]["labels"].items()
        assert not selector.items() <= deployments[other]["metadata"]["labels"].items()


def test_a_canary_of_what_runs_is_refused() -> None:
    with pytest.raises(SameImageTwice, match=str(CPU.image)):
        list(canary_documents(CPU, CPU, Wanted(), 10))


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        ("--namespace", {"namespace": "Prod"}),
        ("--gateway", {"reach": Reach(gateway="a/b/c")}),
        ("--host", {"reach": Reach(hosts=("a_b.example",))}),
        ("--ingress", {"reach": Reach(ingress="https://a.example")}),
        ("--pull-secret", {"pod": PodOptions(pull_secrets=("My Secret",))}),
        ("--from-namespace", {"reach": Reach(from_namespaces=("-",))}),
    ],
)
def test_a_name_that_is_none_names_its_option(option: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(MalformedClusterName, match=f"{option} is "):
        Wanted(**wrong)


def test_never_fewer_at_most() -> None:
    with pytest.raises(FewerAtMost, match="--max-replicas is 2, and --replicas 3"):
        Wanted(replicas=3, most=2)


def test_kserve_of_triton_has_a_runtime() -> None:
    runtime, service = kserve_documents(SERVED["triton-cuda12"], EVERYTHING)
    predictor = service["spec"]["predictor"]
    formats = runtime["spec"]["supportedModelFormats"]
    assert predictor["model"]["runtime"] == runtime["metadata"]["name"]
    assert predictor["model"]["modelFormat"] in formats
    assert "containers" not in predictor
    assert "storageUri" not in predictor["model"]


def test_kserve_knows_the_protocol_of_the_minimal_server() -> None:
    (service,) = kserve_documents(CPU, Wanted())
    (container,) = service["spec"]["predictor"]["containers"]
    assert container["name"] == "kserve-container"
    assert {"name": "PROTOCOL", "value": "v2"} in container["env"]
    assert len(container["ports"]) == 1


def test_a_directory_for_kustomize(tmp_path: Path) -> None:
    documents = list(canary_documents(CPU, NEW, Wanted(), 10))
    files = kustomize_files(documents, CPU.name, "Written by `mbuild deploy kubernetes` for it")
    listed = yaml.safe_load(files[KUSTOMIZATION])["resources"]
    assert sorted([KUSTOMIZATION, *listed]) == sorted(files)
    assert {"deployment.yaml", "deployment-canary.yaml"} <= set(files)
    for name in ("deployment.yaml", "ingress.yaml"):
        (tmp_path / name).write_text("# Written by `mbuild deploy kubernetes` before\n")
    (tmp_path / "mine.yaml").write_text("kind: ConfigMap\n")
    assert left_over(tmp_path, files) == (tmp_path / "ingress.yaml",)
    assert left_over(tmp_path / "new", files) == ()
