"""One contract for all assemblers: of one plan they make equal file trees and equal settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import pytest

from builder.assemble.docker import DockerAssembler
from builder.assemble.embedded import EmbeddedAssembler
from builder.assemble.image import AssembledImage, Assembler
from builder.assemble.weights import Keep, stage_chunks
from builder.host.docker import BuildFailed, DockerEngine, connect
from builder.host.trees import merged
from builder.oci.content import Piece
from builder.oci.layout import Layout
from builder.oci.validate import validate_image
from builder.plan.image import LayerRole
from builder.plan.layering import plan_layers
from builder.render.context import write_context
from tests.support.hosts import real_host
from tests.support.images import file_tree, small_plan

ENGINES = pytest.mark.parametrize(
    "make",
    ["embedded", pytest.param("buildkit", marks=pytest.mark.docker), pytest.param("legacy", marks=pytest.mark.docker)],
    indirect=True,
)


def docker_engine() -> DockerEngine:
    engine = connect()
    if engine is None:
        pytest.skip("no Docker engine answers")
    return engine


class Tidy(DockerEngine):
    """The engine, which remembers what it built."""

    built: ClassVar[set[str]] = set()

    def build(self, context: Path, tag: str = "", on_line: Callable[[str], None] = lambda _: None) -> str:
        image = super().build(context, tag, on_line)
        self.built.add(image)
        return image


class TidyLegacy(Tidy):
    """The same engine, asked to build without BuildKit."""

    @property
    def has_buildkit(self) -> bool:
        return False


@pytest.fixture(autouse=True)
def _tidy_up() -> Iterator[None]:
    yield
    while Tidy.built:
        docker_engine().remove_image(Tidy.built.pop())


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Assembler:
    host = real_host(tmp_path / "store")
    if request.param == "embedded":
        return EmbeddedAssembler(host)
    kind = TidyLegacy if request.param == "legacy" else Tidy
    return DockerAssembler(host, kind(docker_engine()._client), write_context)


def settings(image: AssembledImage) -> dict[str, Any]:
    """The config without what an engine adds and no container sees, and what no Dockerfile can say to each engine."""
    noise = {"Hostname", "Image", "ArgsEscaped"}
    found = {key: value for key, value in image.config.settings.items() if value and key not in noise}
    found["Healthcheck"] = {key: value for key, value in found["Healthcheck"].items() if key != "StartInterval"}
    return found


@pytest.fixture
def reference(tmp_path: Path) -> AssembledImage:
    plan, tree = small_plan(tmp_path / "reference")
    return EmbeddedAssembler(real_host(tmp_path / "other")).assemble(plan, tree, tmp_path / "expected")


@pytest.fixture(params=[0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@ENGINES
def test_equal_files_and_settings(make: Assembler, reference: AssembledImage, tmp_path: Path, umask: int) -> None:
    plan, tree = small_plan(tmp_path / "tree")

    image = make.assemble(plan, tree, tmp_path / "layout")

    assert file_tree(image) == file_tree(reference)
    assert settings(image) == settings(reference)
    assert image.config.platform == plan.platform
    assert image.manifest.annotations == dict(plan.annotations)


@ENGINES
def test_the_image_is_valid_and_alone_in_its_layout(make: Assembler, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")

    image = make.assemble(plan, tree, tmp_path / "layout")

    layout = Layout(tmp_path / "layout")
    found = layout.find(platform=plan.platform)
    assert found.digest == image.digest
    validate_image(layout, found)
    live = {image.digest, image.config.digest, *(layer.descriptor.digest for layer in image.layers)}
    assert {path.name for path in (tmp_path / "layout/blobs/sha256").iterdir()} == {digest.hex for digest in live}


@ENGINES
def test_layers_have_the_planned_roles_and_compression(make: Assembler, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")

    image = make.assemble(plan, tree, tmp_path / "layout")

    assert [layer.role for layer in image.layers] == [LayerRole.BASE, LayerRole.MODEL]
    assert [layer.descriptor.media_type.rsplit(".", 1)[-1] for layer in image.layers] == ["tar+gzip", "tar"]


@ENGINES
def test_chunks_of_weights_are_layers_of_their_own(make: Assembler, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    (tmp_path / "weights").write_bytes(bytes(range(256)) * 64)
    pieces = (Piece(tmp_path / "weights", 256, 1024), Piece(None, 0, 64), Piece(tmp_path / "weights", 0, 300))
    paths = [PurePosixPath(f"/models/digits/weights/{name}.bin") for name in "ab"]
    chunks = stage_chunks([(path, pieces) for path in paths], Keep.BLOB, real_host(tmp_path / "store"))
    layers = plan_layers({LayerRole.WEIGHTS: chunks.entries})
    model = plan.layers[-1]

    whole = replace(plan, layers=(*plan.layers[:-1], *layers, model))
    image = make.assemble(whole, merged([tree, chunks]), tmp_path / "layout")

    roles = [LayerRole.BASE, LayerRole.WEIGHTS, LayerRole.WEIGHTS, LayerRole.MODEL]
    assert [layer.role for layer in image.layers] == roles
    seen = file_tree(image)
    assert {str(path) for path in paths} <= set(seen)
    assert {seen[str(path)].content for path in paths} == {entry.digest.hex for entry in chunks.entries if entry.digest}


@ENGINES
def test_another_image_in_the_layout_stays(make: Assembler, tmp_path: Path) -> None:
    plan, tree = small_plan(tmp_path / "tree")
    first = make.assemble(plan, tree, tmp_path / "layout")
    layout = Layout(tmp_path / "layout")
    kept = layout.write_image(first.manifest, first.config, layout.blob_path, reference="kept:1")

    make.assemble(plan, tree, tmp_path / "layout")

    validate_image(layout, layout.find("kept:1"))
    assert layout.find("kept:1").digest == kept.digest


@pytest.mark.docker
def test_a_failed_build_shows_the_engine_s_own_lines(tmp_path: Path) -> None:
    def broken(plan: object, tree: object, directory: Path) -> None:
        directory.mkdir(parents=True)
        (directory / "Dockerfile").write_text("FROM scratch\nCOPY nowhere /\n")

    plan, tree = small_plan(tmp_path / "tree")
    assembler = DockerAssembler(real_host(tmp_path / "store"), docker_engine(), broken)

    with pytest.raises(BuildFailed, match=r"(?s)not found.*COPY nowhere"):
        assembler.assemble(plan, tree, tmp_path / "layout")

    assert not (tmp_path / "layout").exists()
