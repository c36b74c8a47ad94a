from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import pytest

from builder.model.source import (
    DirectoryUnreadable,
    EmptyDirectory,
    FileTooLarge,
    LinkLeadsNowhere,
    LinkLeavesDirectory,
    ModelDirectoryMissing,
    NotADirectory,
    SourceLimits,
    SpecialFile,
    TooManyFiles,
    list_model,
)
from tests.support.golden import Golden
from tests.support.models import complaint


def fill(directory: Path, *names: str) -> None:
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_lists_regular_files_sorted_and_leaves_litter_out(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx", "b/w.bin", "a.txt", "a/z.txt")
    fill(tmp_path, ".git/HEAD", "__pycache__/x.pyc", ".DS_Store", "mbuild.lock", "model.yaml~", ".model.yaml.swp")
    listed = list_model(tmp_path)
    assert [str(file.path) for file in listed.files] == ["a/z.txt", "a.txt", "b/w.bin", "model.onnx"]
    assert [file.size for file in listed.files] == [7, 5, 7, 10]
    assert listed.head(PurePosixPath("a.txt"), 2) == b"a."


def test_a_link_inside_is_the_file_that_it_leads_to(tmp_path: Path) -> None:
    fill(tmp_path, "blobs/weights")
    (tmp_path / "model.onnx").symlink_to("blobs/weights")
    assert [(str(file.path), file.size) for file in list_model(tmp_path).files] == [
        ("blobs/weights", 13),
        ("model.onnx", 13),
    ]


def test_a_link_to_the_directory_itself_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "real/model.onnx")
    (tmp_path / "link").symlink_to("real")
    assert list_model(tmp_path / "link").files == list_model(tmp_path / "real").files


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "../missing"])
def test_refuses_a_link_that_leaves(tmp_path: Path, target: str) -> None:
    fill(tmp_path, "model/model.onnx", "secret")
    (tmp_path / "model/weights.bin").symlink_to(target)
    with pytest.raises(LinkLeavesDirectory, match=r"weights\.bin"):
        list_model(tmp_path / "model")


def test_refuses_a_chain_of_links_that_leaves(tmp_path: Path) -> None:
    fill(tmp_path, "model/model.onnx", "secret")
    (tmp_path / "model/a").symlink_to("b")
    (tmp_path / "model/b").symlink_to("../secret")
    with pytest.raises(LinkLeavesDirectory):
        list_model(tmp_path / "model")


def test_refuses_links_to_directories_loops_and_nothing(tmp_path: Path) -> None:
    for number, target in enumerate((".", "loop", "missing")):
        directory = tmp_path / str(number)
        fill(directory, "model.onnx")
        (directory / "loop").symlink_to(target)
        with pytest.raises(LinkLeadsNowhere, match="loop"):
            list_model(directory)


def test_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(SpecialFile, match=r"model\.onnx is a named pipe"):
        list_model(tmp_path)


def test_refuses_no_directory_and_a_file(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx")
    with pytest.raises(ModelDirectoryMissing):
        list_model(tmp_path / "missing")
    with pytest.raises(ModelDirectoryMissing):
        list_model(tmp_path / "model.onnx" / "below")
    with pytest.raises(NotADirectory, match=r"model\.onnx is a file"):
        list_model(tmp_path / "model.onnx")


def test_refuses_an_empty_directory(tmp_path: Path, golden: Golden) -> None:
    fill(tmp_path, ".git/HEAD", "mbuild.lock")
    with pytest.raises(EmptyDirectory) as caught:
        list_model(tmp_path)
    golden("errors/empty-directory.txt", complaint(caught.value, tmp_path))


def test_caps(tmp_path: Path) -> None:
    fill(tmp_path, "model.onnx", "b")
    with pytest.raises(FileTooLarge, match=r"model\.onnx has 10 bytes"):
        list_model(tmp_path, SourceLimits(file_bytes=9))
    with pytest.raises(TooManyFiles):
        list_model(tmp_path, SourceLimits(files=1))
    assert len(list_model(tmp_path, SourceLimits(files=2, file_bytes=10)).files) == 2


@contextmanager
def ordinary_user() -> Iterator[None]:
    """root reads everything, so it steps down for a moment."""
    if os.geteuid():
        yield
        return
    os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.parametrize("locked", ["model.onnx", "part", "."])
def test_refuses_what_cannot_be_read(locked: str) -> None:
    with TemporaryDirectory() as name:  # not tmp_path: its parents are closed to others
        directory = Path(name)
        directory.chmod(0o755)
        fill(directory, "model.onnx", "part/w.bin")
        (directory / locked).chmod(0)
        with ordinary_user(), pytest.raises(DirectoryUnreadable, match="Permission denied"):
            list_model(directory)
        (directory / locked).chmod(0o755)
