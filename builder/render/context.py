"""Writes a plan as a directory that plain ``docker build`` understands."""

from __future__ import annotations

from pathlib import Path

from builder.errors import UsageError
from builder.host.fs import atomic_write, disk_errors, why_not_writable
from builder.host.trees import StagedTree, materialise
from builder.oci.layer_writer import Compression, write_layer
from builder.plan.image import ImagePlan
from builder.render.dockerfile import archive_name, layer_directories, render_dockerfile


class ContextNotEmpty(UsageError):
    code = "context-not-empty"
    message = "the build context cannot be written to {directory}: {reason}"
    hint = "name a new or an empty directory; a build context holds exactly what the image needs"


def require_empty(directory: Path) -> None:
    """Raises ContextNotEmpty where something is there already, or nothing can be written."""
    reason = why_not_writable(directory)
    if not reason and directory.exists() and any(directory.iterdir()):
        reason = "it is not empty"
    if reason:
        raise ContextNotEmpty(directory=directory, reason=reason)


def write_context(plan: ImagePlan, tree: StagedTree, directory: Path, template_dir: Path | None = None) -> None:
    """Dockerfile, .dockerignore, base archive and layer directories below ``directory``.

    Raises ContextNotEmpty and TemplateFailed.
    """
    require_empty(directory)
    dockerfile = render_dockerfile(plan, template_dir)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for layer, name in layer_directories(plan):
            if archive := archive_name(layer):
                with (directory / archive).open("wb") as out:
                    write_layer(layer.entries, tree.open, Compression.NONE, out)
            else:
                materialise(StagedTree(entries=layer.entries, files=tree.files), directory / name)
        atomic_write(directory / ".dockerignore", b"Dockerfile\n.dockerignore\n")
        atomic_write(directory / "Dockerfile", dockerfile.encode())
