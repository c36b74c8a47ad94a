"""Documents as a directory that ``kubectl apply -k`` and other Kustomize directories take: one file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from builder.deploy.documents import Document, to_yaml

KUSTOMIZATION = "kustomization.yaml"
_MARK = "# Written by `mbuild deploy "


def kustomize_files(documents: Sequence[Document], name: str, comment: str) -> dict[str, str]:
    """By file name; what stands in a document's name behind ``name`` is in that of its file."""
    files = {_file(each, name): to_yaml([each], comment) for each in documents}
    kustomization = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [*files]}
    return {KUSTOMIZATION: to_yaml([kustomization], comment), **files}


def _file(document: Document, name: str) -> str:
    return f"{document['kind'].lower()}{document['metadata']['name'].removeprefix(name)}.yaml"


def left_over(directory: Path, files: Mapping[str, str]) -> tuple[Path, ...]:
    """Files in ``directory`` that mbuild wrote before and does not write now."""
    found = sorted(directory.glob("*.yaml")) if directory.is_dir() else []
    return tuple(each for each in found if each.name not in files and _is_ours(each))


def _is_ours(file: Path) -> bool:
    with file.open(encoding="utf-8", errors="replace") as text:
        return text.read(len(_MARK)) == _MARK
