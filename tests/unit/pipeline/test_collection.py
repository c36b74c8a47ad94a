"""Which directories are several models for one image, and what they must agree on."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from builder.errors import MbuildError
from builder.events import Warned
from builder.formats import SeveralModels
from builder.formats.onnx_weights import CHUNK_FROM
from builder.model.manifest import ManifestInvalid
from builder.model.server_settings import ServerSettings
from builder.model.source import list_model
from builder.pipeline.collection import (
    FoundImage,
    MemberMissing,
    SameModelName,
    ServerSettingsDiffer,
    find_image,
    for_each,
    member_directories,
)
from builder.plan.chunks import MOST_CHUNKS, share_of_chunks
from tests.support.hosts import RecordedEvents, real_host
from tests.support.onnx_models import mlp

SERVER = "server: {queue: 7}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two models, and what people put beside them."""
    place = tmp_path / "Several Models"
    for name in ("beta", "alpha"):
        model(place, name)
    (place / "README.md").write_text("two models")
    (place / "train.py").write_text("print()")
    (place / "mbuild.lock").write_text("{}")
    return place


def model(place: Path, name: str, manifest: str = "") -> Path:
    (place / name).mkdir(parents=True)
    onnx.save(mlp(), place / name / "model.onnx")
    if manifest:
        (place / name / "model.yaml").write_text(manifest)
    return place / name


def names(found: FoundImage) -> list[str]:
    return [one.manifest.name for one in found.models]


def test_a_directory_of_model_directories_is_one_image(directory: Path) -> None:
    found = find_image(directory)
    assert (found.manifest.name, found.manifest.version) == ("several-models", "0.1.0")
    assert names(found) == ["alpha", "beta"]
    assert found.summary == "several-models 0.1.0: 2 models: alpha (onnx), beta (onnx)"


def test_its_model_yaml_names_them_and_speaks_of_the_image(directory: Path) -> None:
    model(directory, "deep/gamma", "version: 2.0.0\n")
    (directory / "model.yaml").write_text("name: fraud\nversion: 3.1.0\nmodels: [beta, 'deep/*']\n")
    found = find_image(directory)
    assert (found.manifest.name, found.manifest.version) == ("fraud", "3.1.0")
    assert [(one.manifest.name, one.manifest.version) for one in found.models] == [
        ("beta", "0.1.0"),
        ("gamma", "2.0.0"),
    ]


def test_it_may_name_one_alone(directory: Path) -> None:
    (directory / "model.yaml").write_text("models: [beta]\n")
    found = find_image(directory)
    assert (found.manifest.name, names(found)) == ("several-models", ["beta"])
    assert found.models[0].source.directory == directory / "beta"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("handler.py", b"def preprocess(inputs): return inputs"),
        ("MLmodel", b"flavors: {}"),
        ("example.json", b"{}"),
        ("golden/a.npz", b"x"),
        ("notes/read.md", b"x"),
        ("model.yaml", b"name: a\n"),
    ],
)
def test_what_belongs_to_one_model_makes_it_one(directory: Path, file: str, content: bytes) -> None:
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_bytes(content)
    assert member_directories(list_model(directory)) == ()


def test_several_models_that_are_no_image_are_refused_with_a_way_out(directory: Path) -> None:
    (directory / "notes").mkdir()
    (directory / "notes" / "read.md").write_text("x")
    with pytest.raises(SeveralModels, match="holds 2 models") as caught:
        find_image(directory)
    assert "docs/several-models.md" in caught.value.advice


def test_a_model_at_the_top_is_the_model(directory: Path) -> None:
    onnx.save(mlp(), directory / "model.onnx")
    (directory / "model.yaml").write_text("file: model.onnx\n")
    assert names(find_image(directory)) == ["several-models"]


def test_one_directory_alone_is_one_model(tmp_path: Path) -> None:
    model(tmp_path / "one", "inner")
    assert names(find_image(tmp_path / "one")) == ["one"]


def test_a_repository_of_triton_with_several_models(tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        (tmp_path / name / "1").mkdir(parents=True)
        onnx.save(mlp(), tmp_path / name / "1" / "model.onnx")
        (tmp_path / name / "config.pbtxt").write_text('backend: "onnxruntime"\n')
    assert names(find_image(tmp_path)) == ["alpha", "beta"]


def test_what_is_wrong_says_where(directory: Path) -> None:
    (directory / "model.yaml").write_text("models: [alpha, other]\n")
    with pytest.raises(MemberMissing, match="no directory matches 'other'"):
        find_image(directory)
    (directory / "model.yaml").write_text("models: [alpha]\nfile: model.onnx\n")
    with pytest.raises(ManifestInvalid, match="file: `models` names several"):
        find_image(directory)
    (directory / "model.yaml").write_text("models: [../alpha]\n")
    with pytest.raises(ManifestInvalid, match="a path inside the model directory"):
        find_image(directory)
    (directory / "model.yaml").unlink()
    (directory / "beta" / "model.yaml").write_text("nam: x\n")
    with pytest.raises(ManifestInvalid) as caught:
        find_image(directory)
    assert caught.value.__notes__ == ["this is about the model beta"]


def test_names_are_unique(directory: Path) -> None:
    (directory / "beta" / "model.yaml").write_text("name: alpha\n")
    with pytest.raises(SameModelName, match="'alpha': alpha and beta"):
        find_image(directory)


def test_server_settings_are_said_once_or_agreed_on(directory: Path) -> None:
    (directory / "beta" / "model.yaml").write_text(SERVER)
    assert find_image(directory).manifest.server == ServerSettings(queue=7)
    (directory / "alpha" / "model.yaml").write_text("server: {batching: {max_batch: 4}}\n")
    assert find_image(directory).manifest.server == ServerSettings(queue=7), "batching is each model's own"
    (directory / "alpha" / "model.yaml").write_text("server: {queue: 8}\n")
    with pytest.raises(ServerSettingsDiffer, match=r"beta: .*'queue': 7"):
        find_image(directory)
    (directory / "model.yaml").write_text("models: ['*']\nserver: {queue: 9}\n")
    assert find_image(directory).manifest.server == ServerSettings(queue=9)


def test_large_models_share_the_layers_for_weights(directory: Path) -> None:
    assert {one.most_chunks for one in find_image(directory).models} == {MOST_CHUNKS}
    for number in range(4):
        with (model(directory, f"large-{number}") / "weights.bin").open("wb") as out:
            out.truncate(CHUNK_FROM)
    assert {one.most_chunks for one in find_image(directory).models} == {(110 - 6) // 4}
    assert share_of_chunks(500, 60) == 1


def test_for_each_names_the_model_in_warnings_and_errors(directory: Path, tmp_path: Path) -> None:
    host = real_host(tmp_path / "store", {})
    models = find_image(directory).models

    def do(one: object, own: object) -> None:
        own.events.emit(Warned(message="odd", hint=""))  # type: ignore[attr-defined]
        if one is models[1]:
            raise MbuildError

    with pytest.raises(MbuildError) as caught:
        for_each(models, do, host)
    assert isinstance(host.events, RecordedEvents)
    assert [event.message for event in host.events.events if isinstance(event, Warned)] == ["alpha: odd", "beta: odd"]
    assert caught.value.__notes__ == ["this is about the model beta"]
    with pytest.raises(MbuildError) as alone:
        for_each(models[1:], do, host)
    assert not hasattr(alone.value, "__notes__")


def test_batching_of_all_models_at_once_is_refused(directory: Path) -> None:
    (directory / "model.yaml").write_text("models: ['*']\nserver: {batching: {max_batch: 4}}\n")
    with pytest.raises(ManifestInvalid, match=r"server\.batching: `models` names several"):
        find_image(directory)
