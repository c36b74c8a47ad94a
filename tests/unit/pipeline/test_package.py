"""What an image in a layout says of itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from builder.assemble.modelpack import modelpack
from builder.assemble.uses import split_images
from builder.host import Host
from builder.model.attached import USE, HalfAnImage, Use
from builder.model.face import MalformedFace
from builder.oci.graph import layout_graph
from builder.oci.layout import Layout
from builder.oci.manifest import MalformedManifest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference
from builder.pipeline.packages.modelpack import PackedModel, inspect_any
from builder.pipeline.packages.package import inspect_layout
from builder.pipeline.packages.report import read_report, report_in, write_report
from builder.pipeline.running.deploy import served
from tests.support.faces import FACE
from tests.support.tiny_image import AMD64, tiny_layout

ARM64 = Platform(os="linux", architecture="arm64")
REPORT = json.dumps({"platforms": [{"platform": "linux/amd64", "test": {"ready_seconds": 0.5}}]}).encode()


def test_an_image_of_mbuild_has_its_face(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, labels=FACE.to_labels())
    package = inspect_layout(layout.path, AMD64)
    assert (package.face, package.measured) == (FACE, None)
    assert package.platforms == ((AMD64, package.digest),)
    assert package.to_json()["face"] == FACE.to_json()


def test_a_report_beside_it_tells_what_was_measured(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, labels=FACE.to_labels())
    write_report(layout.path, layout.find().digest, REPORT)
    measured = inspect_layout(layout.path, AMD64).measured
    assert measured is not None
    assert measured.ready_seconds == 0.5


def test_an_image_of_others_says_what_any_image_says(tmp_path: Path) -> None:
    package = inspect_layout(tiny_layout(tmp_path).path, AMD64)
    assert package.face is None
    assert package.settings == {"entrypoint": ["/nothing"], "user": "65532:65532"}
    assert package.created == "2026-01-01T00:00:00Z"


def test_of_several_the_one_for_the_platform(tmp_path: Path) -> None:
    tiny_layout(tmp_path)
    layout = tiny_layout(tmp_path, platform=ARM64)
    assert inspect_layout(layout.path, ARM64).platform == ARM64


def test_labels_that_somebody_changed_name_the_image(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, labels={**FACE.to_labels(), "dev.mbuild.wheels": "numpy"})
    with pytest.raises(MalformedFace, match=str(layout.path)):
        inspect_layout(layout.path, AMD64)


def test_reports_of_images_that_went_go(tmp_path: Path) -> None:
    old = tiny_layout(tmp_path).find().digest
    layout = tiny_layout(tmp_path, weights=b"others")
    write_report(layout.path, old, REPORT)
    assert report_in(layout.path, old) == REPORT
    write_report(layout.path, layout.find().digest, REPORT)
    assert report_in(layout.path, old) is None
    assert report_in(layout.path, layout.find().digest) == REPORT


def test_a_report_that_is_not_json_is_named(tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path)
    write_report(layout.path, layout.find().digest, b"{")
    with pytest.raises(MalformedManifest, match=r"reports/sha256-.*\.json is malformed"):
        read_report(layout.path, layout.find().digest)


@pytest.mark.parametrize(("use", "half"), [(Use.SERVER, "a server without its models"), (Use.WEIGHTS, "a volume of")])
def test_half_an_image_is_not_deployed(tmp_path: Path, use: Use, half: str) -> None:
    package = inspect_layout(tiny_layout(tmp_path, labels={**FACE.to_labels(), USE: use}).path, AMD64)
    at = PinnedReference(registry="r.example", repository="digits", digest=package.digest)
    with pytest.raises(HalfAnImage, match=f"{at} is {half}"):
        served(package, at)


def test_a_modelpack_in_a_layout(tmp_path: Path, host: Host) -> None:
    image = layout_graph(tiny_layout(tmp_path / "image", roles=("model", "weights"), labels=FACE.to_labels()))
    packed = modelpack(split_images(image)[0], image.top.descriptor)
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for blob in packed.blobs:
        (blobs / blob.descriptor.digest.hex).write_bytes(b"".join(blob.open()))
    layout = Layout(tmp_path / "layout")
    contents = [blob.descriptor for blob in packed.blobs]
    layout.write(packed.top.descriptor, [packed.top.raw], contents, lambda digest: blobs / digest.hex, "digits")
    found = inspect_any(str(layout.path), AMD64, host)
    assert isinstance(found, PackedModel)
    assert (found.artifact, found.digest, found.said.name) == (str(layout.path), packed.top.descriptor.digest, "digits")
