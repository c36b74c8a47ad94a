"""The inventory of a model directory: which files, how large, and nothing that leads out of it.

``list_model`` refuses what could smuggle other files into an image or hang a build: links that leave the directory or
lead nowhere, links to directories (they can be loops), devices, pipes and sockets, and files over a cap. It leaves out
what version control, editors, Python and mbuild itself put beside a model.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from builder.errors import UnsupportedModel
from builder.model.operators import NO_OPERATORS, Operators
from builder.model.signature import TensorSpec
from builder.oci.content import Content
from builder.oci.digest import Digest

_IGNORED_DIRECTORIES = frozenset(
    {".git", ".hg", ".svn", "__pycache__", ".venv", ".ipynb_checkpoints", ".idea", ".vscode", ".cache"}
)
_IGNORED_FILES = (
    *("mbuild.lock", ".DS_Store", "Thumbs.db", ".gitignore", ".gitattributes", "*.pyc"),
    *("*~", "*.swp", "*.swo", ".#*", "#*#", "*.tmp"),
)


class ModelDirectoryMissing(UnsupportedModel):
    code = "model-directory-missing"
    message = "there is no model directory at {path}"
    hint = "give the directory that holds the model, for example `mbuild examples/digits`"


class NotADirectory(UnsupportedModel):
    code = "model-not-a-directory"
    message = "{path} is a file, not a model directory"
    hint = "put it into a directory of its own and give that one: {parent}"


class DirectoryUnreadable(UnsupportedModel):
    code = "model-directory-unreadable"
    message = "{path} cannot be read: {reason}"
    hint = "make it readable for the user that runs mbuild, for example `chmod -R u+rX {path}`"


class EmptyDirectory(UnsupportedModel):
    code = "model-directory-empty"
    message = "the model directory {path} holds no file"
    hint = "put a model.onnx into it; nothing else is needed"


class LinkLeavesDirectory(UnsupportedModel):
    code = "link-leaves-directory"
    message = "{path} is a link that leaves the model directory: it points to {target}"
    hint = "replace it with the file itself, for example `cp -RL {directory} COPY` and then `mbuild COPY`"


class LinkLeadsNowhere(UnsupportedModel):
    code = "link-leads-nowhere"
    message = "{path} is a link to {target}, which is not a file"
    hint = "replace the link with the file itself, or remove it"


class SpecialFile(UnsupportedModel):
    code = "special-file"
    message = "{path} is a {kind}; a model directory holds regular files only"
    hint = "remove it from the model directory"


class FileTooLarge(UnsupportedModel):
    code = "model-file-too-large"
    message = "{path} has {size} bytes; the cap for one file of a model is {cap}"
    hint = (
        "split its weights into several external data files, or move what is no part of the model out of the directory"
    )


class TooManyFiles(UnsupportedModel):
    code = "too-many-model-files"
    message = "{path} holds more than {cap} files"
    hint = "give the directory of one model; data sets and checkouts do not belong into it"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFile:
    """A regular file of the model directory: ``path`` relative to it, ``size`` in bytes."""

    path: PurePosixPath
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """A directory as it was listed once: ``files`` sorted by path."""

    directory: Path
    files: tuple[ModelFile, ...]

    def locate(self, path: PurePosixPath) -> Path:
        return self.directory / path

    def find(self, path: PurePosixPath) -> ModelFile | None:
        """The listed file at ``path``, or None."""
        return next((file for file in self.files if file.path == path), None)

    def head(self, path: PurePosixPath, length: int = 4096) -> bytes:
        """The first bytes of a file, for telling what it is."""
        with self.locate(path).open("rb") as content:
            return content.read(length)


@dataclass(frozen=True, kw_only=True, slots=True)
class Detection:
    """What format the directory holds, which file is the model, and what was seen that says so.

    ``versions`` are those of the packages that wrote it, where it says so. ``covers`` are the files that belong to it,
    so that no other model is seen in them. ``wrapper`` is the kind of directory that a model of this format lies in
    (mlflow, triton). ``inputs`` are what the directory says that the model takes, ``outputs`` the names that it has for
    what the model gives, in their order, ``example`` a file with an input."""

    format: str
    entry: PurePosixPath
    evidence: tuple[str, ...]
    versions: tuple[tuple[str, str], ...] = ()
    covers: frozenset[PurePosixPath] = frozenset()
    wrapper: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[str, ...] = ()
    example: PurePosixPath | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PackedFile:
    """A file of the image below the model's version directory, and where its bytes are. ``tensors`` are the names of
    those that a chunk of weights holds, in its order."""

    path: PurePosixPath
    content: bytes | Content
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelArtifact:
    """An ONNX model ready to be packed: ``files`` maps paths below the model's version directory to files here, with
    their digests; the first is the graph. ``laid_out`` is how a large model is packed instead (builder/plan/chunks.py);
    it computes the same. ``reads_in_place``: weights so large that whoever computes with them maps them into memory
    where they lie, and makes no copy in an order of its own. ``operators`` are those of the graph."""

    files: tuple[tuple[PurePosixPath, Path, Digest], ...]
    opset: int
    laid_out: tuple[PackedFile, ...] = ()
    reads_in_place: bool = False
    operators: Operators = NO_OPERATORS

    @property
    def graph(self) -> Path:
        return self.files[0][1]

    @property
    def packed(self) -> tuple[PackedFile, ...]:
        """The files as they go into the image."""
        return self.laid_out or tuple(PackedFile(path=path, content=local) for path, local, _ in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceLimits:
    """Caps of an inventory: bytes of one file (64 GiB holds any weights shard in use) and the number of files."""

    file_bytes: int = 64 << 30
    files: int = 10_000


def list_model(directory: Path, limits: SourceLimits = SourceLimits()) -> ModelSource:
    """List ``directory``: regular files, sorted by path. Raises one of this module's errors for anything else."""
    _require_directory(directory)
    root = directory.resolve()
    files: list[ModelFile] = []
    for path in _walk(root):
        if len(files) == limits.files:
            raise TooManyFiles(path=directory, cap=limits.files)
        files.append(_inspect(root, path, limits))
    if not files:
        raise EmptyDirectory(path=directory)
    return ModelSource(directory=root, files=tuple(sorted(files, key=lambda file: file.path.parts)))


def _require_directory(directory: Path) -> None:
    try:
        mode = directory.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelDirectoryMissing(path=directory) from error
    except OSError as error:
        raise DirectoryUnreadable(path=directory, reason=error.strerror) from error
    if not stat.S_ISDIR(mode):
        raise NotADirectory(path=directory, parent=directory.parent)


def _walk(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise DirectoryUnreadable(path=error.filename, reason=error.strerror) from error

    for parent, directories, names in os.walk(root, onerror=refuse):
        kept = sorted(name for name in directories if name not in _IGNORED_DIRECTORIES)
        linked = [name for name in kept if (Path(parent) / name).is_symlink()]
        directories[:] = [name for name in kept if name not in linked]
        wanted = [name for name in names if not any(fnmatchcase(name, pattern) for pattern in _IGNORED_FILES)]
        yield from (Path(parent) / name for name in sorted(linked + wanted))


def _inspect(root: Path, path: Path, limits: SourceLimits) -> ModelFile:
    relative = PurePosixPath(path.relative_to(root).as_posix())
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        status = _follow(root, path, relative)
    if not stat.S_ISREG(status.st_mode):
        raise SpecialFile(path=relative, kind=_kind(status.st_mode))
    if status.st_size > limits.file_bytes:
        raise FileTooLarge(path=relative, size=status.st_size, cap=limits.file_bytes)
    if not os.access(path, os.R_OK):
        raise DirectoryUnreadable(path=path, reason="Permission denied")
    return ModelFile(path=relative, size=status.st_size)


def _follow(root: Path, path: Path, relative: PurePosixPath) -> os.stat_result:
    target = path.readlink()
    try:
        resolved = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        if not Path(os.path.normpath(path.parent / target)).is_relative_to(root):
            raise LinkLeavesDirectory(path=relative, target=target, directory=root) from error
        raise LinkLeadsNowhere(path=relative, target=target) from error
    if not resolved.is_relative_to(root):
        raise LinkLeavesDirectory(path=relative, target=target, directory=root)
    if resolved.is_dir():
        raise LinkLeadsNowhere(path=relative, target=target)
    return resolved.stat()


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "named pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISBLK, "block device"))
    return next((name for test, name in kinds if test(mode)), "character device")
