"""What is watched, and the names of its figures (docs/observing.md; Triton's metrics, whose names both servers use).

Labels: ``job`` and ``instance`` come from Prometheus, ``namespace`` from its Kubernetes discovery, ``model`` and
``version`` from the server.
"""

from __future__ import annotations

from dataclasses import dataclass

from builder.deploy.served import Served
from builder.model.measured import Measured

SUCCESS, FAILURE = "nv_inference_request_success", "nv_inference_request_failure"
LATENCY = "mbuild_request_duration_seconds"
MODEL_LABELS = ("namespace", "job", "model", "version")
REPLICA_LABELS = ("namespace", "job", "instance")

OBJECTIVE = 0.999
LATENCY_BOUNDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
"""Upper bounds of the buckets of ``LATENCY``: those of builder/serve/observe/metrics.py."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watched:
    """An image as it runs: ``server`` is http or triton, ``on_gpu`` whether it is for a GPU, ``p99_seconds`` what its
    build measured of requests one after the other. All of them empty: any image of ours. ``job`` is the name that
    Prometheus scrapes it under, empty for every job; ``objective`` the share of requests that is to be answered."""

    name: str = ""
    job: str = ""
    server: str = ""
    on_gpu: bool | None = None
    p99_seconds: float | None = None
    objective: float = OBJECTIVE

    @property
    def has_own_figures(self) -> bool:
        """Whether it may be the minimal server, which tells more than Triton."""
        return self.server != "triton"

    @property
    def may_be_triton(self) -> bool:
        return self.server != "http"

    @property
    def may_have_gpu(self) -> bool:
        return self.on_gpu is not False

    def series(self, name: str, *matchers: str) -> str:
        """A selector of a figure of what is watched."""
        every = ((f'job="{self.job}"',) if self.job else ()) + matchers
        return f"{name}{{{','.join(every)}}}" if every else name


def watch(served: Served, job: str = "", objective: float = OBJECTIVE) -> Watched:
    """``job`` is by default the name, as that of its Service is what a ServiceMonitor makes of it."""
    return Watched(
        name=served.name,
        job=job or served.name,
        server=served.face.server,
        on_gpu=served.on_gpu,
        p99_seconds=_p99(served.measured) if served.measured else None,
        objective=objective,
    )


def _p99(measured: Measured) -> float | None:
    """Of the slower form of request; under an emulator nothing says how long it takes."""
    found = [one.p99_ms / 1000 for one in (measured.latency_json, measured.latency_binary) if one]
    return max(found) if found and not measured.emulator else None


def le(seconds: float) -> str:
    """The matcher of a bucket. Prometheus 3 keeps the bound 1 as 1.0, earlier ones as the server writes it."""
    text = f"{seconds:g}"
    return f'le=~"{text}([.]0)?"' if "." not in text else f'le="{text}"'


def by(*labels: str) -> str:
    return f"by ({', '.join(labels)})"
