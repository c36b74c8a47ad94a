"""A cluster, asked through ``kubectl``, which knows how to reach it and who we are there. Nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from builder.errors import ToolMissing
from builder.host.run import Command, Runner

_SECONDS = 60


class KubectlMissing(ToolMissing):
    code = "kubectl-missing"
    message = "kubectl is not on this machine, and nothing else knows how to reach a cluster"
    hint = "install it (apt-get install kubernetes-client, or the release of your cluster's version)"


class ClusterRefused(ToolMissing):
    code = "cluster-refused"
    message = "kubectl could not read {what}:\n{complaint}"
    hint = "see that `kubectl config current-context` is the cluster that is meant, and that you may read there"


@dataclass(frozen=True, kw_only=True, slots=True)
class Kubectl:
    """Of the cluster of ``context`` (empty: the current one), in ``namespace`` (empty: that of the context). It gets
    this process's own environment, in which no option for a registry stands."""

    run: Runner
    namespace: str = ""
    context: str = ""

    def deployments(self, label: str) -> tuple[dict[str, Any], ...]:
        """With a label, as in ``app=digits``. Raises KubectlMissing, ClusterRefused."""
        return self._get("the Deployments", "deployments.apps", f"--selector={label}")

    def existing(self, documents: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
        """Those of ``documents`` that the cluster has, as it has them."""
        items = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        return self._get("what runs", "--filename=-", "--ignore-not-found", stdin=json.dumps(items).encode())

    def _get(self, what: str, *arguments: str, stdin: bytes = b"") -> tuple[dict[str, Any], ...]:
        if self.run.which("kubectl") is None:
            raise KubectlMissing
        place = (
            f"--namespace={self.namespace}" if self.namespace else "",
            f"--context={self.context}" * bool(self.context),
        )
        argv = ("kubectl", "get", *filter(None, place), "--output=json", *arguments)
        done = self.run.run(Command(argv=argv, stdin=stdin, timeout=_SECONDS))
        if not done.ok:
            raise ClusterRefused(what=what, complaint=done.complaint)
        found: dict[str, Any] = json.loads(done.stdout) if done.stdout.strip() else {"items": []}
        return tuple(found.get("items", [found]))
