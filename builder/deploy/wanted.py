"""What whoever deploys decides, and how what belongs together is named and labelled.

Labels: ``app.kubernetes.io/name`` selects all pods of a name, ``mbuild.dev/track`` (stable, canary) those of one
Deployment. A Deployment's selector never changes, so it has both from the start.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from builder.canonical import canonical_json
from builder.deploy.pod import PodOptions
from builder.deploy.served import Served, grace_of
from builder.deploy.sizing import Sizing, size
from builder.errors import UsageError

NAME, VERSION, MANAGED = "app.kubernetes.io/name", "app.kubernetes.io/version", "app.kubernetes.io/managed-by"
TRACK = "mbuild.dev/track"
IMAGE = "mbuild.dev/image"
"""Annotation: the whole image, also where it is run in two parts."""
WANTED = "mbuild.dev/wanted"
"""Annotation of a Deployment: what was decided, so that the same can be asked of another image."""
STABLE, CANARY = "stable", "canary"

_MOST_LABEL = 63
_SCALED = 5
"""Times the replicas that there are at least: what an autoscaler may add where nobody says."""
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")


class MalformedClusterName(UsageError):
    code = "malformed-cluster-name"
    message = "{option} is {given!r}, which is no {what}"
    hint = "lower-case letters, digits and - in between, for example {option} {example}"


class FewerAtMost(UsageError):
    code = "fewer-at-most"
    message = "--max-replicas is {most}, and --replicas {least}"
    hint = "there are never fewer pods than --replicas; leave --max-replicas out for a number that fits"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """Who reaches it from outside: ``ingress`` is a host for an Ingress (of ``ingress_class``, with TLS by
    ``tls_secret``), ``gateway`` the ``[NAMESPACE/]NAME`` of a Gateway, for ``hosts``. ``from_namespaces`` are allowed
    beside its own; where something from outside is asked for and none is named, all are."""

    ingress: str = ""
    ingress_class: str = ""
    tls_secret: str = ""
    gateway: str = ""
    hosts: tuple[str, ...] = ()
    service_monitor: bool = False
    from_namespaces: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        return bool(self.ingress or self.gateway or self.service_monitor) and not self.from_namespaces


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """``replicas`` is how many pods there are at least, ``most`` how many an autoscaler makes of them (0: as many as
    suit); ``cpu`` and ``memory`` (empty: by what was measured) are what a pod is given. With ``weights_volume`` the
    models are mounted beside a server without them."""

    namespace: str = ""
    replicas: int = 2
    most: int = 0
    cpu: str = "1"
    memory: str = ""
    weights_volume: bool = False
    pod: PodOptions = field(default_factory=PodOptions)
    reach: Reach = field(default_factory=Reach)

    def __post_init__(self) -> None:
        """Raises MalformedClusterName, FewerAtMost."""
        if self.most and self.most < self.replicas:
            raise FewerAtMost(most=self.most, least=self.replicas)
        namespace, _, gateway = self.reach.gateway.rpartition("/")
        for option, given in (
            ("--namespace", self.namespace),
            ("--gateway", namespace),
            *(("--from-namespace", each) for each in self.reach.from_namespaces),
        ):
            _require(option, given, _LABEL, "name of a namespace", "models")
        for option, given in (
            ("--gateway", gateway),
            ("--tls-secret", self.reach.tls_secret),
            ("--ingress-class", self.reach.ingress_class),
            *(("--pull-secret", each) for each in self.pod.pull_secrets),
            *(("--env-from", each) for each in self.pod.env_from),
        ):
            _require(option, given, rf"{_LABEL}(?:\.{_LABEL})*", "name in a cluster", "public")
        for option, given in (("--ingress", self.reach.ingress), *(("--host", each) for each in self.reach.hosts)):
            _require(option, given, _HOST.pattern, "host", "models.example.com")

    def to_text(self) -> str:
        """All but the namespace, which the document itself has."""
        said = asdict(self)
        del said["namespace"]
        return canonical_json(said).decode()

    @classmethod
    def from_text(cls, text: str, namespace: str) -> Wanted | None:
        """None where somebody changed it, or a mbuild that decides otherwise wrote it."""
        try:
            said = json.loads(text)
            pod, reach = PodOptions(**_tuples(said.pop("pod"))), Reach(**_tuples(said.pop("reach")))
            return cls(**{**said, "namespace": namespace, "pod": pod, "reach": reach})
        except (ValueError, TypeError, KeyError, AttributeError, UsageError):
            return None

    def most_of(self, served: Served) -> int:
        """A GPU's load is not in its processor's, by which an autoscaler counts unless it is told otherwise."""
        if self.most or served.on_gpu or self.replicas == 1:
            return max(self.most, self.replicas)
        return self.replicas * _SCALED


def _tuples(said: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {key: _tuple(value) for key, value in said.items()}


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


def _require(option: str, given: str, pattern: str, what: str, example: str) -> None:
    if given and (len(given) > 253 or not re.fullmatch(pattern, given)):
        raise MalformedClusterName(option=option, given=given, what=what, example=example)


def sizing_of(served: Served, wanted: Wanted) -> Sizing:
    """What a pod is given. Raises MalformedQuantity."""
    said = [f"{name}={value}" for name, value in wanted.pod.env]
    grace = grace_of(said, (), served.grace_seconds)
    return size(replace(served, grace_seconds=grace), cpu=wanted.cpu, memory=wanted.memory)


def metadata(served: Served, wanted: Wanted, *, track: str = "") -> dict[str, Any]:
    """Of a document of its own; ``track`` is a part of its name."""
    name = f"{served.name}-{track}" if track else served.name
    space = {"namespace": wanted.namespace} if wanted.namespace else {}
    return {"name": name, **space, "labels": {**labels(served), **({TRACK: track} if track else {})}}


def labels(served: Served) -> dict[str, str]:
    version = re.sub(r"[^A-Za-z0-9._-]+", "-", served.face.version)[:_MOST_LABEL].strip("-._")
    return {NAME: served.name, **({VERSION: version} if version else {}), MANAGED: "mbuild"}


def told(served: Served) -> dict[str, str]:
    """The face in words that ``kubectl describe`` shows."""
    face = served.face
    models = ", ".join(f"{model.name} {model.version}".strip() for model in face.models)
    return {
        IMAGE: str(served.image),
        "mbuild.dev/models": models,
        "mbuild.dev/target": f"{face.server} for {face.target}",
        "mbuild.dev/lock": face.lock_digest,
    }
