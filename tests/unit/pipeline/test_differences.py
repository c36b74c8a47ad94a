"""What differs between two images, from what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builder.model.face import Face
from builder.model.measured import Measured, MeasuredParity
from builder.pipeline.packages.differences import PartChange, compare_packages
from builder.pipeline.packages.package import Package, inspect_layout
from tests.support.faces import FACE, FACE_MODEL
from tests.support.tiny_image import AMD64, tiny_layout


def package(directory: Path, face: Face | None = FACE, weights: bytes = b"weights", holds: str = "") -> Package:
    labels, roles = face.to_labels() if face else None, ("base", "weights")
    layout = tiny_layout(directory, labels=labels, weights=weights, roles=roles, holds=holds)
    return inspect_layout(layout.path, AMD64)


def test_two_equal_packages_differ_in_nothing(tmp_path: Path) -> None:
    found = compare_packages(package(tmp_path / "a"), package(tmp_path / "b"))
    assert (found.said, found.measured, found.to_fetch) == ((), (), 0)
    assert [(one.role, one.gone, one.new) for one in found.layers] == [("base", (), ()), ("weights", (), ())]


def test_what_changed_is_named_with_both_values(tmp_path: Path) -> None:
    model = replace(FACE_MODEL, version="1.1.0", quantized="fp16")
    face = replace(FACE, version="1.1.0", models=(model,), wheels={"numpy": "2.3.0", "orjson": "3.13.0"})
    face = replace(face, packages={"libc6": "2.41-12+deb13u1", "zlib1g": "1:1.3"})
    found = compare_packages(package(tmp_path / "a"), package(tmp_path / "b", face))
    assert {one.field: (one.before, one.after) for one in found.said} == {
        "version": ("1.0.0", "1.1.0"),
        "models.digits.version": ("1.0.0", "1.1.0"),
        "models.digits.quantized": ("", "fp16"),
        "wheels.numpy": ("2.2.0", "2.3.0"),
        "wheels.onnxruntime": ("1.31.1", None),
        "wheels.orjson": (None, "3.13.0"),
        "packages.libc6": ("2.41-12", "2.41-12+deb13u1"),
    }


def test_new_weights_are_what_must_be_fetched(tmp_path: Path) -> None:
    before, after = package(tmp_path / "a"), package(tmp_path / "b", weights=b"others")
    base, weights = compare_packages(before, after).layers
    assert (base.shared, base.new) == (base.after, ())
    assert (weights.gone, weights.new) == ((before.manifest.layers[1].digest,), (after.manifest.layers[1].digest,))
    assert compare_packages(before, after).to_fetch == after.manifest.layers[1].size


def test_layers_say_which_tensors_changed(tmp_path: Path) -> None:
    head, tail, size = "digits: a to b (2 tensors)", "digits: c", package(tmp_path / "size").manifest.layers[1].size
    same, other = package(tmp_path / "same", holds=head), package(tmp_path / "other", weights=b"others!", holds=head)
    assert [one.parts for one in compare_packages(same, other).layers] == [
        (),
        (PartChange(holds=head, before=size, after=size),),
    ]
    moved = package(tmp_path / "moved", weights=b"others!", holds=tail)
    assert compare_packages(same, moved).layers[1].to_json()["parts"] == [
        {"holds": head, "before": size, "after": 0},
        {"holds": tail, "before": 0, "after": size},
    ]
    assert compare_packages(same, package(tmp_path / "again", holds=tail)).layers[1].parts == (), "the same bytes"


def test_figures_are_compared_where_both_have_them(tmp_path: Path) -> None:
    parity = (MeasuredParity(name="digits", max_absolute=1e-6, max_relative=0.5),)
    slow, fast = (
        replace(package(tmp_path / name), measured=Measured(ready_seconds=seconds, parity=parity))
        for name, seconds in (("a", 0.5), ("b", 0.25))
    )
    assert [one.to_json() for one in compare_packages(slow, fast).measured] == [
        {"field": "ready_seconds", "before": 0.5, "after": 0.25}
    ]
    assert compare_packages(slow, replace(fast, measured=None)).measured == ()


def test_an_image_of_others_is_compared_by_its_layers(tmp_path: Path) -> None:
    found = compare_packages(package(tmp_path / "a", None), package(tmp_path / "b", None, weights=b"others"))
    assert (found.said, found.to_fetch > 0) == ((), True)
