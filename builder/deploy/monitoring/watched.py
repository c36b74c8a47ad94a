"""What is watched, and the names of its figures (docs/observing.md; Triton's metrics, whose names both servers use).

Labels: ``job`` and ``instance`` come from Prometheus, ``namespace`` from its Kubernetes discovery, ``model`` and
``version`` from the server.
"""

from __future__ import annotations

from dataclasses import dataclass

SUCCESS, FAILURE = "nv_inference_request_success", "nv_inference_request_failure"
LATENCY = "mbuild_request_duration_seconds"
MODEL_LABELS = ("namespace", "job", "model", "version")
REPLICA_LABELS = ("namespace", "job", "instance")

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
    objective: float = 0.999

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


def le(seconds: float) -> str:
    """The matcher of a bucket. Prometheus 3 keeps the bound 1 as 1.0, earlier ones as the server writes it."""
    text = f"{seconds:g}"
    return f'le=~"{text}([.]0)?"' if "." not in text else f'le="{text}"'


def by(*labels: str) -> str:
    return f"by ({', '.join(labels)})"
