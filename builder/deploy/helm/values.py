"""What can be chosen of a chart: values with the defaults that the documents have, and a schema of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.deploy.helm.templates import commented
from builder.deploy.kubernetes import deployment
from builder.deploy.served import Served
from builder.deploy.wanted import Wanted

_ABOUT = {
    "image": "What runs. The digest says which: a tag would let pods of one release differ.",
    "replicas": "How many pods there are at least.",
    "maxReplicas": "How many an autoscaler may make of them; no more than `replicas`: there is no autoscaler.",
    "resources": "What a pod is given, by what the build measured.",
    "args": "Arguments behind those of the image: Triton's flags.",
    "env": "Settings of the server beside the image's own, as Kubernetes has them: a list of name and value.",
    "envFrom": "Secrets or ConfigMaps with settings, such as MBUILD_API_KEY: a list of secretRef or configMapRef.",
    "pullSecrets": "Secrets with the registry's login: a list of name.",
    "strategy": "How pods of a new version take the place of others.",
    "nodeSelector": "Where it can run.",
    "tolerations": "",
    "affinity": "",
    "ingress": "An Ingress where there is a host.",
    "networkPolicy": "Who may ask, beside pods of its own namespace.\n"
    "Empty, with an Ingress or a ServiceMonitor: every namespace.",
    "serviceMonitor": "For the Prometheus Operator, with a label that it looks for.",
}
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
_OBJECTS = {"type": "array", "items": {"type": "object"}}
_LABELS = {"type": "object", "additionalProperties": _TEXT}


@dataclass(frozen=True, kw_only=True, slots=True)
class Values:
    """``tree`` in the order in which it is written."""

    tree: Mapping[str, Any]

    @classmethod
    def of(cls, served: Served, wanted: Wanted) -> Values:
        """The choices that the documents come with. Raises MalformedQuantity."""
        spec = deployment(served, wanted, replicas=None)["spec"]
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        repository, _, digest = str(served.image).partition("@")
        return cls(
            tree={
                "image": {"repository": repository, "digest": digest},
                "replicas": wanted.replicas,
                "maxReplicas": wanted.most_of(served),
                "resources": container["resources"],
                "args": container.get("args", []),
                "env": container.get("env", []),
                "envFrom": container.get("envFrom", []),
                "pullSecrets": pod.get("imagePullSecrets", []),
                "strategy": spec["strategy"],
                "nodeSelector": pod["nodeSelector"],
                "tolerations": pod.get("tolerations", []),
                "affinity": pod.get("affinity", {}),
                "ingress": {"host": "", "className": "", "tlsSecret": ""},
                "networkPolicy": {"enabled": True, "fromNamespaces": []},
                "serviceMonitor": {"enabled": False, "labels": {}},
            }
        )


def values_text(values: Values) -> str:
    return commented((key, value, _ABOUT[key]) for key, value in values.tree.items())


def values_schema(values: Values) -> dict[str, Any]:
    """JSON Schema, draft 7, as Helm reads it: a key that the chart does not have is a mistake."""
    kinds: dict[str, Any] = {
        "image": _object({"repository": _TEXT, "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}}),
        "replicas": _COUNT,
        "maxReplicas": _COUNT,
        "resources": {"type": "object"},
        "args": {"type": "array", "items": _TEXT},
        "env": _OBJECTS,
        "envFrom": _OBJECTS,
        "pullSecrets": _OBJECTS,
        "strategy": {"type": "object"},
        "nodeSelector": _LABELS,
        "tolerations": _OBJECTS,
        "affinity": {"type": "object"},
        "ingress": _object({"host": _TEXT, "className": _TEXT, "tlsSecret": _TEXT}),
        "networkPolicy": _object({"enabled": {"type": "boolean"}, "fromNamespaces": {"type": "array", "items": _TEXT}}),
        "serviceMonitor": _object({"enabled": {"type": "boolean"}, "labels": _LABELS}),
    }
    properties = {key: {**kinds[key], "description": _ABOUT[key]} for key in values.tree}
    # `global` is what a chart around this one shares with it.
    allowed = {**properties, "global": {"type": "object"}}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **_object(allowed), "required": [*values.tree]}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": dict(properties)}
