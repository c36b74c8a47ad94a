"""A chart (Helm 3 and 4, chart API v2): the documents of ``mbuild deploy kubernetes``, named after the release.

Rendered with the values that it brings and the release name that ``deploy kubernetes`` would take, it is the same
documents, but for the note of what was decided. What is optional there by an option is optional here by a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from builder.canonical import readable_json
from builder.deploy.documents import Document, to_yaml
from builder.deploy.helm.templates import Block, Lines, Marks, Scalar, if_value, replaced, to_template, with_block
from builder.deploy.helm.values import Values, values_schema, values_text
from builder.deploy.kubernetes import deployment, service_account
from builder.deploy.scaling import autoscaler, disruption_budget
from builder.deploy.served import Served
from builder.deploy.traffic import ingress, network_policy, service, service_monitor
from builder.deploy.wanted import WANTED, Reach, Wanted

_KUBERNETES = ">=1.33.0-0"
_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_SCALED = "gt (int .Values.maxReplicas) (int .Values.replicas)"
_DELETED = "helm.sh/hook-delete-policy"
_IMAGE = 'printf "%s@%s" .Values.image.repository .Values.image.digest | quote'


def chart_files(served: Served, wanted: Wanted) -> Mapping[str, str]:
    """Contents by their paths in the chart. Raises MalformedQuantity."""
    values = Values.of(served, wanted)
    templates = {f"templates/{name}.yaml": text for name, text in _templates(served, wanted)}
    return {
        "Chart.yaml": to_yaml([_chart(served)], f"Written by `mbuild deploy helm` for {served.image}"),
        "values.yaml": values_text(values),
        "values.schema.json": readable_json(values_schema(values)).decode(),
        **templates,
        "templates/NOTES.txt": _NOTES.replace("@PORT@", str(served.ports.http)),
    }


def _chart(served: Served) -> Document:
    version = served.face.version
    return {
        "apiVersion": "v2",
        "name": served.name,
        "description": served.face.description or f"{served.name}, served by an image that mbuild built",
        "type": "application",
        "version": version if _SEMVER.fullmatch(version) else f"0.1.0+sha256.{served.image.digest.hex[:12]}",
        "appVersion": version or served.image.digest.hex[:12],
        "kubeVersion": _KUBERNETES,
    }


def _templates(served: Served, wanted: Wanted) -> Iterator[tuple[str, str]]:
    """By the names of their files."""
    marks = Marks()
    name = marks.put(Scalar(code=".Release.Name | quote"))
    words = {str(served.image): marks.put(Scalar(code=_IMAGE))}
    named, plain = replace(served, name=name), replace(wanted, namespace="")
    exposed = replace(plain, reach=Reach(ingress="host.invalid", ingress_class="class", tls_secret="tls"))  # noqa: S106 - a name
    for document, condition in (
        (service_account(named, plain), ""),
        (_policy(network_policy(named, plain), marks), ".Values.networkPolicy.enabled"),
        (service(named, plain), ""),
        (_deployment(deployment(named, plain, replicas=None), marks), ""),
        (_autoscaler(autoscaler(named, plain), marks), _SCALED),
        (disruption_budget(named, plain), "gt (int .Values.replicas) 1"),
        (_ingress(ingress(named, exposed), marks), ".Values.ingress.host"),
        (_monitor(service_monitor(named, plain), marks), ".Values.serviceMonitor.enabled"),
    ):
        yield document["kind"].lower(), to_template(replaced(document, words), marks, condition)
    if served.face.server == "http":
        yield "tests/ready", to_template(replaced(_test(named, marks), words), marks)


def _deployment(document: Document, marks: Marks) -> Document:
    """Without the note of what was decided: a release keeps its values, and they may be others."""
    about, spec, template = document["metadata"], document["spec"], document["spec"]["template"]
    notes = {key: text for key, text in about["annotations"].items() if key != WANTED}
    count = if_value(f"not ({_SCALED})", "replicas: {{ .Values.replicas }}")
    return {
        **document,
        "metadata": {**about, "annotations": notes},
        "spec": {
            **marks.key(*count),
            **spec,
            "strategy": marks.put(Block(value=".Values.strategy")),
            "template": {**template, "spec": _pod(template["spec"], marks)},
        },
    }


def _pod(spec: Mapping[str, Any], marks: Marks) -> dict[str, Any]:
    """What a cluster decides about pods: where they run, with which login, with how much."""
    (container,) = spec["containers"]
    chosen = ("imagePullSecrets", "tolerations", "affinity")
    values = {"imagePullSecrets": "pullSecrets", "tolerations": "tolerations", "affinity": "affinity"}
    optional = [marks.key(*with_block(f".Values.{values[key]}", key)) for key in chosen]
    kept = {key: value for key, value in spec.items() if key not in chosen}
    return {
        **kept,
        **optional[0],
        "nodeSelector": marks.put(Block(value=".Values.nodeSelector")),
        **optional[1],
        **optional[2],
        "containers": [
            {
                **{key: value for key, value in container.items() if key not in ("args", "env", "envFrom")},
                **marks.key(*with_block(".Values.args", "args")),
                **marks.key(*with_block(".Values.env", "env")),
                **marks.key(*with_block(".Values.envFrom", "envFrom")),
                "resources": marks.put(Block(value=".Values.resources")),
            }
        ],
    }


def _policy(document: Document, marks: Marks) -> Document:
    lines = (
        "{{- range .Values.networkPolicy.fromNamespaces }}",
        "- namespaceSelector:",
        "    matchLabels:",
        "      kubernetes.io/metadata.name: {{ . | quote }}",
        "{{- else }}",
        *if_value("or .Values.ingress.host .Values.serviceMonitor.enabled", "- namespaceSelector: {}"),
        "{{- end }}",
    )
    (rule,) = document["spec"]["ingress"]
    others = marks.put(Lines(lines=lines))
    return {**document, "spec": {**document["spec"], "ingress": [{**rule, "from": [*rule["from"], others]}]}}


def _autoscaler(document: Document, marks: Marks) -> Document:
    counts = {
        "minReplicas": marks.put(Scalar(code=".Values.replicas")),
        "maxReplicas": marks.put(Scalar(code=".Values.maxReplicas")),
    }
    return {**document, "spec": {**document["spec"], **counts}}


def _ingress(document: Document, marks: Marks) -> Document:
    (rule,) = document["spec"]["rules"]
    host = ".Values.ingress.host | quote"
    tls = (
        "{{- with .Values.ingress.tlsSecret }}",
        "tls:",
        "  - hosts:",
        "      - {{ $.Values.ingress.host | quote }}",
        "    secretName: {{ . | quote }}",
        "{{- end }}",
    )
    kind = ("{{- with .Values.ingress.className }}", "ingressClassName: {{ . | quote }}", "{{- end }}")
    rules = [{**rule, "host": marks.put(Scalar(code=host))}]
    return {**document, "spec": {**marks.key(*kind), **marks.key(*tls), "rules": rules}}


def _monitor(document: Document, marks: Marks) -> Document:
    """Operators mostly look for a label of their own."""
    about = document["metadata"]
    more = ("{{- with .Values.serviceMonitor.labels }}", "{{- toYaml . | nindent 4 }}", "{{- end }}")
    return {**document, "metadata": {**about, "labels": {**about["labels"], **marks.key(*more)}}}


def _test(named: Served, marks: Marks) -> Document:
    """Asks for readiness through the Service, with the only program that there is in the image."""
    address = {"MBUILD_HOST": named.name, "MBUILD_PORT": str(named.ports.http)}
    rights = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": marks.put(Scalar(code='printf "%s-test" .Release.Name | quote')),
            "labels": {"app.kubernetes.io/managed-by": "mbuild"},
            "annotations": {
                "helm.sh/hook": "test",
                "helm.sh/hook-delete-policy": "before-hook-creation,hook-succeeded",
            },
        },
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "ready",
                    "image": str(named.image),
                    "args": ["health"],
                    "env": [{"name": key, "value": value} for key, value in address.items()],
                    "securityContext": rights,
                }
            ],
        },
    }


_NOTES = """\
{{ .Chart.Name }} {{ .Chart.AppVersion }} as {{ .Release.Name }} in {{ .Release.Namespace }}

Is it ready?
  kubectl -n {{ .Release.Namespace }} rollout status deployment/{{ .Release.Name }}

Ask it from here:
  kubectl -n {{ .Release.Namespace }} port-forward service/{{ .Release.Name }} 8000:@PORT@
  curl localhost:8000/v2/models

Back to what ran before:
  helm -n {{ .Release.Namespace }} rollback {{ .Release.Name }}
"""
