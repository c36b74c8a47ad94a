"""The unpacked file system of an image is made once, and layers are shared between images."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from builder.assemble.embedded import EmbeddedAssembler
from builder.host.rootfs import root_filesystem
from tests.support.hosts import real_host
from tests.support.images import small_plan


def test_a_second_image_unpacks_only_what_is_new(tmp_path: Path) -> None:
    host = real_host(tmp_path / "store", {})
    plan, tree = small_plan(tmp_path / "tree")
    image = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "one")
    model = plan.layers[1]
    changed = replace(plan, layers=(plan.layers[0], replace(model, entries=model.entries[1:])))
    other = EmbeddedAssembler(host).assemble(changed, tree, tmp_path / "two")

    root = root_filesystem(host.store, image.layout, image.manifest)
    again = root_filesystem(host.store, other.layout, other.manifest)

    assert root != again
    assert (root / "usr/bin/hello").samefile(again / "usr/bin/hello")
    assert (root / "usr/share/about").read_bytes() == b"below a directory of the base"
    assert (root / "tmp").stat().st_mode & 0o7777 == 0o1777


def test_a_root_that_was_made_needs_no_layout(tmp_path: Path) -> None:
    host = real_host(tmp_path / "store", {})
    plan, tree = small_plan(tmp_path / "tree")
    image = EmbeddedAssembler(host).assemble(plan, tree, tmp_path / "layout")
    root = root_filesystem(host.store, image.layout, image.manifest)
    for layer in image.layers:
        image.layout.blob_path(layer.descriptor.digest).unlink()
    shutil.rmtree(host.store.root / "directories/unpacked-layers")

    assert root_filesystem(host.store, image.layout, image.manifest) == root
