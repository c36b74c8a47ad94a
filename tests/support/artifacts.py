"""Small artifacts about an image, as attestations will be."""

from __future__ import annotations

from builder.oci.descriptor import Descriptor
from builder.oci.graph import Blob, Graph, artifact_graph

BOM, SIGNATURE = "application/vnd.example.bom+json", "application/vnd.example.signature+json"


def artifact(subject: Descriptor, kind: str, content: bytes) -> Graph:
    """One file of ``kind`` about ``subject``."""
    blob = Blob(descriptor=Descriptor.of(content, kind), open=lambda: (content,), role="artifact")
    return artifact_graph(kind, (blob,), subject, {"org.opencontainers.image.created": "2026-01-01T00:00:00Z"})
