"""What an image would change of what runs in a cluster: its documents there and here, and the two images."""

from __future__ import annotations

from dataclasses import dataclass

from builder.deploy.compared import DocumentChange, compare_document
from builder.deploy.documents import Document
from builder.deploy.kubernetes import kubernetes_documents
from builder.deploy.schemas import require_valid
from builder.deploy.served import Served
from builder.deploy.wanted import CANARY, IMAGE, NAME, STABLE, TRACK, WANTED, Wanted
from builder.errors import MbuildError
from builder.host import Host
from builder.host.kubectl import Kubectl
from builder.oci.platform import Platform
from builder.pipeline.packages.differences import Comparison, diff_packages
from builder.pipeline.running.deploy import with_weights_volume
from builder.registry.credentials import acting_for

SCHEMA = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """``before`` and ``after`` are images by digest, ``before`` empty where nothing runs; ``packages`` is what differs
    between them, None where they are one or ``remark`` says why it is not known; ``canary`` is the image beside."""

    name: str
    namespace: str
    before: str
    after: str
    documents: tuple[DocumentChange, ...]
    packages: Comparison | None = None
    remark: str = ""
    canary: str = ""

    @property
    def is_change(self) -> bool:
        return any(one.is_change for one in self.documents)

    def to_json(self) -> dict[str, object]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "namespace": self.namespace or None,
            "before": self.before or None,
            "after": self.after,
            "canary": self.canary or None,
            "documents": [one.to_json() for one in self.documents],
            "packages": self.packages.to_json() if self.packages else None,
            "remark": self.remark,
        }


def compare_rollout(image: str, served: Served, kubectl: Kubectl, host: Host) -> Rollout:
    """``image`` is as whoever asks names it, ``served`` what that is. The documents are those that the same decisions
    give for another image: what was decided stands in what runs. A password of the environment is not for the registry
    of what happens to run. Raises KubectlMissing, ClusterRefused."""
    host = acting_for(served.image.registry, host)
    running = {_track(one): one for one in kubectl.deployments(f"{NAME}={served.name}")}
    wanted, remark = _decided(running.get(STABLE), kubectl.namespace)
    if wanted.weights_volume:
        served = with_weights_volume(served, host)
    documents = require_valid(kubernetes_documents(served, wanted))
    there = {_identity(one): one for one in kubectl.existing(documents)}
    before = _image(running.get(STABLE))
    packages, unknown = None, ""
    if before and before != str(served.image):
        packages, unknown = _packages(before, image, Platform.parse(served.face.platform), host)
    return Rollout(
        name=served.name,
        namespace=kubectl.namespace,
        before=before,
        after=str(served.image),
        documents=tuple(compare_document(one, there.get(_identity(one))) for one in documents),
        packages=packages,
        remark="; ".join(filter(None, (remark, unknown))),
        canary=_image(running.get(CANARY)),
    )


def _decided(deployment: Document | None, namespace: str) -> tuple[Wanted, str]:
    usual = Wanted(namespace=namespace)
    if deployment is None:
        return usual, ""
    said = deployment["metadata"].get("annotations", {}).get(WANTED, "")
    known = Wanted.from_text(said, namespace)
    return known or usual, "" if known else "what runs does not say with which options: compared with the usual ones"


def _track(deployment: Document) -> str:
    return str(deployment["spec"]["template"]["metadata"].get("labels", {}).get(TRACK, ""))


def _identity(document: Document) -> tuple[str, str]:
    return str(document["kind"]), str(document["metadata"]["name"])


def _image(deployment: Document | None) -> str:
    """The whole image, where only the server of it is run; that does not say which that is, so the pods are told."""
    if deployment is None:
        return ""
    template = deployment["spec"]["template"]
    if any("image" in volume for volume in template["spec"].get("volumes", ())):
        return str(template["metadata"].get("annotations", {}).get(IMAGE, ""))
    return next((str(one["image"]) for one in template["spec"]["containers"]), "")


def _packages(before: str, after: str, platform: Platform, host: Host) -> tuple[Comparison | None, str]:
    """What the images say of themselves; why not, where a registry does not answer."""
    try:
        return diff_packages(before, after, platform, host), ""
    except MbuildError as error:
        return None, f"what the two images say of themselves is not known: {error}"
