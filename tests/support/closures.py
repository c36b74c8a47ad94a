"""Whether the static checks would notice that a library is missing in an image."""

from __future__ import annotations

from pathlib import Path

from builder.host.store import Store
from builder.oci.layout import Layout
from builder.probe.closure import image_closure, library_problems
from builder.probe.contents import ImageContents, read_contents


def unnoticed(layout: Layout, scratch: Path) -> tuple[list[str], int]:
    """The libraries that could be taken out of the image in ``layout`` without being named together with a file that
    needs them; and how many libraries were tried."""
    manifest = layout.manifest(layout.find())
    platform = layout.config(manifest).platform
    contents = read_contents(layout, manifest, Store(scratch))
    uses = list(image_closure(contents, platform, "").uses())
    silent = []
    for library in {use.library for use in uses}:
        left = {path: file for path, file in contents.files.items() if path != library}
        problems = library_problems(ImageContents(files=left, kept=contents.kept), platform, "")
        told = {(problem.file, problem.problem) for problem in problems}
        if not all((use.file, f"needs {use.name}") in told for use in uses if use.library == library):
            silent.append(str(library))
    return sorted(silent), len({use.library for use in uses})
