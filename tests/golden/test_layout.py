"""One layout with literal digests: a change of these bytes is a change of every image that was ever built.

When it must change, bump REVISION in builder/oci/layer_writer.py, so that no cache gives the old bytes.
"""

from __future__ import annotations

from pathlib import Path

from builder.assemble.embedded import EmbeddedAssembler
from tests.support.golden import Golden
from tests.support.hosts import real_host
from tests.support.images import small_plan


def test_the_small_image_has_these_bytes(tmp_path: Path, golden: Golden) -> None:
    plan, tree = small_plan(tmp_path / "tree")

    image = EmbeddedAssembler(real_host(tmp_path / "store")).assemble(plan, tree, tmp_path / "layout")

    files = {path.relative_to(image.path) for path in image.path.rglob("*") if path.is_file()}
    lines = [f"{file}  {(image.path / file).stat().st_size}" for file in sorted(files)]
    lines += ["", "index.json", (image.path / "index.json").read_text()]
    lines += ["", f"manifest {image.digest}", image.manifest.raw.decode()]
    lines += ["", f"config {image.config.digest}", image.config.raw.decode()]
    golden("layout.txt", "\n".join(lines) + "\n")
