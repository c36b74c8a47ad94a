"""What the directories that wrap a model of another format have in common (mlflow, triton)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Protocol

from builder.errors import UnsupportedModel
from builder.formats.known import Sighting
from builder.model.source import Detection, ModelSource


class Wrapper(Protocol):
    """A kind of directory around a model. ``summary`` says in a line what it looks like."""

    @property
    def name(self) -> str: ...

    @property
    def summary(self) -> str: ...

    def wrap(
        self, source: ModelSource, models: tuple[Detection, ...], sightings: tuple[Sighting, ...]
    ) -> tuple[Detection, ...]:
        """Those of ``models`` that lie in such a directory, with what it says about them. Raises
        WrappedModelNotRead, and what a broken description raises."""
        ...


class WrappedModelNotRead(UnsupportedModel):
    code = "wrapped-model-not-read"
    message = "{path} describes a model that mbuild does not read: {reason}"
    hint = "{advice}"


def below(source: ModelSource, directory: PurePosixPath) -> Iterator[PurePosixPath]:
    """The files of a directory that belong to it: not what the user wrote for mbuild."""
    own = {PurePosixPath("model.yaml"), PurePosixPath("model.yml"), PurePosixPath("handler.py")}
    for file in source.files:
        if file.path.is_relative_to(directory) and file.path not in own and file.path.parts[0] != "golden":
            yield file.path


def lies_at(model: PurePosixPath, place: PurePosixPath) -> bool:
    """Whether a model is the file ``place``, or lies in the directory of that name."""
    return model == place or place in model.parents
