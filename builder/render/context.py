"""Writes a plan as a directory that plain ``docker build`` understands."""

from __future__ import annotations

from pathlib import Path

from builder.errors import UsageError
from builder.host.fs import atomic_write, disk_errors
from builder.host.trees import StagedTree, materialise
from builder.oci.layer_writer import Compression, write_layer
from builder.plan.image import ImagePlan
from builder.render.dockerfile import archive_name, render_dockerfile


class ContextNotEmpty(UsageError):
    code = "context-not-empty"
    message = "{directory} is not empty"
    hint = "name a new or an empty directory; a build context holds exactly what the image needs"


def write_context(plan: ImagePlan, tree: StagedTree, directory: Path, template_dir: Path | None = None) -> None:
    """Dockerfile, .dockerignore, base archive and layer directories below ``directory``.

    Raises ContextNotEmpty where something is there already, and TemplateFailed.
    """
    if directory.exists() and any(directory.iterdir()):
        raise ContextNotEmpty(directory=directory)
    dockerfile = render_dockerfile(plan, template_dir)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        for layer in plan.layers:
            if archive := archive_name(layer):
                with (directory / archive).open("wb") as out:
                    write_layer(layer.entries, tree.open, Compression.NONE, out)
            else:
                materialise(StagedTree(entries=layer.entries, files=tree.files), directory / layer.role.value)
        atomic_write(directory / ".dockerignore", b"Dockerfile\n.dockerignore\n")
        atomic_write(directory / "Dockerfile", dockerfile.encode())
