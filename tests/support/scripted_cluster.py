"""A Kubernetes API server in this process that kubectl speaks to: it keeps what is applied, and runs nothing.

``with ScriptedCluster(directory) as cluster:`` serves on a loopback port over plain HTTP; ``cluster.environ`` is what
kubectl needs. Discovery, and create, read, list and patch of the resources below ``RESOURCES`` are as the API's
conventions have them; defaults that a real server fills in are those that ``compare_document`` must not mind.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RESOURCES = {
    "v1": {"services": "Service", "serviceaccounts": "ServiceAccount"},
    "apps/v1": {"deployments": "Deployment"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "networking.k8s.io/v1": {"networkpolicies": "NetworkPolicy", "ingresses": "Ingress"},
    "gateway.networking.k8s.io/v1": {"httproutes": "HTTPRoute"},
    "monitoring.coreos.com/v1": {"servicemonitors": "ServiceMonitor"},
    "serving.kserve.io/v1beta1": {"inferenceservices": "InferenceService"},
    "serving.kserve.io/v1alpha1": {"servingruntimes": "ServingRuntime"},
}
_CONFIG = """\
apiVersion: v1
kind: Config
clusters: [{{name: here, cluster: {{server: "{server}"}}}}]
users: [{{name: me, user: {{}}}}]
contexts: [{{name: here, context: {{cluster: here, user: me, namespace: default}}}}]
current-context: here
"""


class ScriptedCluster:
    """See the module. ``stored`` has each object by API version, resource, namespace and name."""

    def __init__(self, directory: Path) -> None:
        self.stored: dict[tuple[str, str, str, str], dict[str, Any]] = {}
        cluster = self

        class Answers(_Answers):
            stored = cluster.stored

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._directory = directory

    def __enter__(self) -> ScriptedCluster:
        self._thread.start()
        config = self._directory / "kubeconfig"
        config.write_text(_CONFIG.format(server=f"http://127.0.0.1:{self._server.server_port}"))
        self.environ = {"KUBECONFIG": str(config), "HOME": str(self._directory), "NO_PROXY": "127.0.0.1"}
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    stored: dict[tuple[str, str, str, str], dict[str, Any]]

    def log_message(self, format: str, *args: object) -> None:
        """Not on stderr."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        known = _discovery(url.path)
        if known is not None:
            return self._say(200, known)
        version, resource, namespace, name = _place(url.path)
        if resource not in RESOURCES.get(version, {}):
            return self._missing(url.path)
        if name:
            found = self.stored.get((version, resource, namespace, name))
            return self._say(200, found) if found else self._missing(name)
        wanted = dict(pair.split("=") for pair in parse_qs(url.query).get("labelSelector", [""])[0].split(",") if pair)
        items = [
            one
            for key, one in self.stored.items()
            if key[:3] == (version, resource, namespace) and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        kind = f"{RESOURCES[version][resource]}List"
        return self._say(200, {"apiVersion": version, "kind": kind, "metadata": {}, "items": items})

    def do_POST(self) -> None:
        version, resource, namespace, _ = _place(urlsplit(self.path).path)
        document = json.loads(self._body())
        self.stored[version, resource, namespace, document["metadata"]["name"]] = document
        self._say(201, _with_defaults(document))

    def do_PATCH(self) -> None:
        key = _place(urlsplit(self.path).path)
        self.stored[key] = _merged(self.stored[key], json.loads(self._body()))
        self._say(200, self.stored[key])

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", "0")))

    def _missing(self, what: str) -> None:
        status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        self._say(404, {**status, "message": f"{what} not found", "metadata": {}})

    def _say(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _discovery(path: str) -> dict[str, Any] | None:
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        pairs = [
            (version.partition("/")[0], {"groupVersion": version, "version": version.partition("/")[2]})
            for version in RESOURCES
            if "/" in version
        ]
        groups = [{"name": name, "versions": [one], "preferredVersion": one} for name, one in pairs]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version in RESOURCES:
        verbs = ["create", "get", "list", "patch"]
        resources = [
            {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
            for name, kind in RESOURCES[version].items()
        ]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    return None


def _place(path: str) -> tuple[str, str, str, str]:
    """API version, resource, namespace, name of ``/apis/GROUP/VERSION/namespaces/NAMESPACE/RESOURCE/NAME``."""
    version, _, rest = path.removeprefix("/apis/").removeprefix("/api/").partition("/namespaces/")
    namespace, resource, name = (*rest.split("/"), "", "")[:3]
    return version, resource, namespace, name


def _with_defaults(document: dict[str, Any]) -> dict[str, Any]:
    """What a real server adds, and amounts as it writes them."""
    document["metadata"] |= {"uid": "7c9", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    if document["kind"] == "Deployment":
        document["spec"].setdefault("replicas", 1)
        pod = document["spec"]["template"]["spec"]
        pod |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
        for container in pod["containers"]:
            container |= {"terminationMessagePath": "/dev/termination-log", "imagePullPolicy": "IfNotPresent"}
            container["resources"]["limits"]["cpu"] = "1000m"
            for port in container["ports"]:
                port["protocol"] = "TCP"
    return document


def _merged(before: Any, patch: Any) -> Any:
    """JSON merge patch (RFC 7386), with lists of named items item by item, as a strategic merge has it."""
    if isinstance(patch, dict) and isinstance(before, dict):
        kept = {key: value for key, value in before.items() if patch.get(key, "") is not None}
        changed = {
            key: _merged(before.get(key), value)
            for key, value in patch.items()
            if value is not None and not key.startswith("$")
        }
        return kept | changed
    if isinstance(patch, list) and patch and isinstance(before, list) and all("name" in each for each in before):
        new = {each["name"]: each for each in patch}
        items = [_merged(each, new.pop(each["name"], {})) for each in before]
        return [*items, *new.values()]
    return patch
