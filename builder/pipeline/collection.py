"""Which models go into one image: the one of a directory, or those of a directory of model directories."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

from builder.canonical import content_key
from builder.errors import MbuildError, SpecError, UnsupportedModel
from builder.events import Event, EventSink, Warned
from builder.formats import NoModelFound, detect
from builder.formats.onnx_weights import CHUNK_FROM
from builder.host import Host
from builder.model.handler import FILE as HANDLER
from builder.model.interface import FILE as INTERFACE
from builder.model.manifest import ModelManifest, read_manifest
from builder.model.server_settings import USUAL_SERVER, ServerSettings
from builder.model.source import ModelSource, list_model
from builder.oci.digest import Digest
from builder.pipeline.model import FoundModel, LoadedModel, find_model, load_model
from builder.plan.chunks import share_of_chunks
from builder.plan.layering import MOST_MODEL_LAYERS
from builder.plan.spec import NO_OPTIONS, ConvertOptions
from builder.targets import Target

_OF_ONE_MODEL = {str(HANDLER), str(INTERFACE), "MLmodel", "config.pbtxt", "config.json"}
"""Files that belong to a model beside them, whatever lies in the directories around."""
_KEPT_BY_A_MODEL = {"golden", "labelled", "calibration"}


class OfAModel(Protocol):
    """What knows which model it is about."""

    @property
    def manifest(self) -> ModelManifest: ...


Given = TypeVar("Given", bound=OfAModel)
Made = TypeVar("Made")


class MemberMissing(SpecError):
    code = "member-missing"
    message = "{path}/model.yaml: models: no directory matches {pattern!r}"
    hint = "name directories below the one that it lies in, each with a model, for example `models: [digits, income]`"


class SameModelName(SpecError):
    code = "same-model-name"
    message = "two models of the image would be served as {name!r}: {first} and {second}"
    hint = "give one of them another `name` in its model.yaml (a model with plain inputs also takes NAME-tensors)"


class ServerSettingsDiffer(SpecError):
    code = "server-settings-differ"
    message = "the models of one image are served by one process, and do not agree on it:\n{settings}"
    hint = "say it once, under `server` in a model.yaml beside them: `models: ['*']` and `server: {{...}}`"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundImage:
    """``manifest`` speaks of the image: it is that of the only model, or lies beside several."""

    manifest: ModelManifest
    models: tuple[FoundModel, ...]

    @property
    def summary(self) -> str:
        if len(self.models) == 1:
            (one,) = self.models
            return f"{one.manifest.name} {one.manifest.version}: {one.detection.entry} ({one.detection.format})"
        names = ", ".join(f"{one.manifest.name} ({one.detection.format})" for one in self.models)
        return f"{self.manifest.name} {self.manifest.version}: {len(self.models)} models: {names}"


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedImage:
    """The models of an image, sorted by name."""

    manifest: ModelManifest
    models: tuple[LoadedModel, ...]

    @property
    def digest(self) -> Digest:
        """Of everything about the models that reaches the image."""
        if len(self.models) == 1:
            return self.models[0].digest
        return Digest.from_hex(content_key({one.manifest.name: str(one.digest) for one in self.models}))

    def with_models(self, models: Iterable[LoadedModel]) -> LoadedImage:
        return replace(self, models=tuple(models))

    @property
    def summary(self) -> str:
        opsets = ", ".join(str(number) for number in sorted({one.artifact.opset for one in self.models} - {0}))
        formats = ", ".join(dict.fromkeys(one.format for one in self.models if one.origin))
        graph = f"ONNX opset {opsets}" if opsets else "ONNX"  # trees alone are of another domain
        return graph + (f" from {formats}" if formats else ", as it is")


def find_image(directory: Path, options: ConvertOptions = NO_OPTIONS) -> FoundImage:
    """The models of a directory. Raises MemberMissing, SameModelName, ServerSettingsDiffer, and what ``find_model``
    raises."""
    source = list_model(directory)
    places = member_directories(source)
    if not places:
        alone = find_model(directory, options)
        return FoundImage(manifest=alone.manifest, models=(alone,))
    models = tuple(sorted((_find(place, options) for place in places), key=lambda one: one.manifest.name))
    _require_distinct([(one.manifest.name, one.source.directory.name) for one in models])
    manifest = read_manifest(source)
    large = sum(sum(file.size for file in one.source.files) >= CHUNK_FROM for one in models)
    most = share_of_chunks(large, min(len(models), MOST_MODEL_LAYERS))
    return FoundImage(
        manifest=replace(manifest, server=_server(manifest, models)),
        models=tuple(replace(one, most_chunks=most) for one in models),
    )


def _find(place: Path, options: ConvertOptions) -> FoundModel:
    with _of_the_model(place.name):
        return find_model(place, options)


def load_image(found: FoundImage, target: Target, host: Host) -> LoadedImage:
    """Raises SameModelName, and what ``load_model`` raises."""
    models = for_each(found.models, lambda one, own: load_model(one, target, own), host)
    served = [(name, one.manifest.name) for one in models for name in one.served_names]
    _require_distinct(served)
    return LoadedImage(manifest=found.manifest, models=models)


def member_directories(source: ModelSource) -> tuple[Path, ...]:
    """The model directories of a directory of several, else nothing: those that ``models`` of its model.yaml names, or
    without a model.yaml all directories in it, if each is a model and nothing of a model lies beside them."""
    manifest = read_manifest(source)
    if manifest.models:
        return _named(source, manifest)
    inner = sorted({file.path.parts[0] for file in source.files if len(file.path.parts) > 1})
    if manifest.path or len(inner) < 2 or _KEPT_BY_A_MODEL & set(inner) or not _holds_no_model(source):
        return ()
    places = tuple(source.directory / name for name in inner)
    return places if all(map(_is_model, places)) else ()


def for_each(models: Sequence[Given], do: Callable[[Given, Host], Made], host: Host) -> tuple[Made, ...]:
    """``do`` for every model; what is told of one of several says of which."""
    if len(models) == 1:
        return (do(models[0], host),)
    return tuple(_about(one.manifest.name, one, do, host) for one in models)


def _about(name: str, one: Given, do: Callable[[Given, Host], Made], host: Host) -> Made:
    with _of_the_model(name):
        return do(one, replace(host, events=_Named(host.events, name)))


@contextmanager
def _of_the_model(name: str) -> Iterator[None]:
    try:
        yield
    except MbuildError as error:
        error.add_note(f"this is about the model {name}")
        raise


class _Named:
    """Warnings say which of several models they are about."""

    def __init__(self, events: EventSink, name: str) -> None:
        self._events, self._name = events, name

    def emit(self, event: Event) -> None:
        said = Warned(message=f"{self._name}: {event.message}", hint=event.hint) if isinstance(event, Warned) else event
        self._events.emit(said)


def _named(source: ModelSource, manifest: ModelManifest) -> tuple[Path, ...]:
    places: dict[Path, None] = {}
    for pattern in manifest.models:
        below = sorted(place for place in source.directory.glob(pattern) if place.is_dir())
        found = [place for place in below if place.name[0] != "." and place != source.directory]
        if not found:
            raise MemberMissing(path=source.directory, pattern=pattern)
        places |= dict.fromkeys(found)
    return tuple(places)


def _holds_no_model(source: ModelSource) -> bool:
    """Whether nothing of a model lies in the directory itself."""
    files = tuple(file for file in source.files if len(file.path.parts) == 1)
    if any(file.path.name in _OF_ONE_MODEL or file.path.stem == "example" for file in files):
        return False
    top = replace(source, files=files)
    try:
        detect(top, read_manifest(top))
    except NoModelFound:
        return True
    except MbuildError:
        return False
    return False


def _is_model(place: Path) -> bool:
    """A model.yaml that is wrong is told: only a model has one."""
    source = list_model(place)
    with _of_the_model(place.name):
        manifest = read_manifest(source)
    try:
        detect(source, manifest)
    except UnsupportedModel:
        return False
    return True


def _require_distinct(named: Sequence[tuple[str, str]]) -> None:
    """Pairs of a name and where it comes from."""
    seen: dict[str, str] = {}
    for name, place in named:
        if name in seen:
            raise SameModelName(name=name, first=seen[name], second=place)
        seen[name] = place


def _server(manifest: ModelManifest, models: Sequence[FoundModel]) -> ServerSettings:
    """Of the process: what the image's own model.yaml says, else what its models say, if they say the same. Batching is
    each model's own."""
    own = {one.manifest.name: replace(one.manifest.server, batching=USUAL_SERVER.batching) for one in models}
    said = {name: settings for name, settings in own.items() if settings != USUAL_SERVER}
    if manifest.server != USUAL_SERVER or not said:
        return manifest.server
    if len(set(said.values())) > 1:
        lines = "\n".join(f"  {name}: {settings.to_json()}" for name, settings in said.items())
        raise ServerSettingsDiffer(settings=lines)
    return next(iter(said.values()))
