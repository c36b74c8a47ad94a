"""An image on KServe: an InferenceService (serving.kserve.io/v1beta1), of Triton with a ServingRuntime of its own.

In KServe's deployment mode that makes plain Deployments: the other one, on Knative, takes neither lifecycle hooks nor
several ports. The model is in the image, so nothing is downloaded (no storageUri).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from builder.deploy.documents import Document, because
from builder.deploy.pod import PodOptions, container, pod_spec
from builder.deploy.scaling import BUSY_PERCENT
from builder.deploy.served import Served
from builder.deploy.sizing import Sizing
from builder.deploy.wanted import Wanted, metadata, sizing_of, told

_CONTAINER = "kserve-container"
"""The name by which KServe knows the container that serves."""
_MODE = {"serving.kserve.io/deploymentMode": "RawDeployment"}
_PROTOCOL = {"name": "PROTOCOL", "value": "v2"}
"""What KServe takes for the protocol of a container that it does not know (predictor_custom.go)."""
_IN_RUNTIME = ("containers", "volumes", "nodeSelector", "tolerations", "affinity", "imagePullSecrets")


def kserve_documents(served: Served, wanted: Wanted) -> Iterator[Document]:
    """Raises MalformedQuantity."""
    sizing = sizing_of(served, wanted)
    pod = {**pod_spec(served, sizing, wanted.pod), "containers": [_container(served, sizing, wanted.pod)]}
    if served.face.server != "triton":
        yield _inference_service(served, wanted, pod)
        return
    formats = [{"name": served.name, "version": "1"}]
    yield {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": metadata(served, wanted),
        "spec": {
            "supportedModelFormats": formats,
            "protocolVersions": ["v2", "grpc-v2"],
            **{key: pod[key] for key in _IN_RUNTIME if key in pod},
        },
    }
    model = {"modelFormat": formats[0], "runtime": served.name, "protocolVersion": "v2"}
    rest = {key: value for key, value in pod.items() if key not in _IN_RUNTIME}
    yield _inference_service(served, wanted, {**rest, "model": model})


def _container(served: Served, sizing: Sizing, options: PodOptions) -> dict[str, Any]:
    """KServe's Service leads to its first port."""
    made = {**container(served, sizing, options), "name": _CONTAINER}
    return made if served.face.server == "triton" else {**made, "env": [_PROTOCOL, *made.get("env", ())]}


def _inference_service(served: Served, wanted: Wanted, predictor: dict[str, Any]) -> Document:
    """KServe makes the autoscaler. On a GPU there are as many pods from the start as there may be: it counts by the
    processors, which are not what is busy there."""
    least, most = wanted.replicas, wanted.most_of(served)
    scaled = {"scaleMetric": "cpu", "scaleTarget": because(BUSY_PERCENT, "percent of --cpu")} if most > least else {}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {**metadata(served, wanted), "annotations": {**_MODE, **told(served)}},
        "spec": {"predictor": {"minReplicas": least, "maxReplicas": most, **scaled, **predictor}},
    }
