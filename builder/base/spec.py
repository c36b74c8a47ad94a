"""``image.yaml``: what a base image of ours is made of. Read, checked against its JSON Schema, never changed here.

A base with a ``parent`` has its root filesystem, and GPU libraries beside it. All that is wrong is reported at once,
each by its dotted path. ``image.lock`` beside it pins what the spec only names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from builder.canonical import content_key
from builder.errors import SpecError, UsageError
from builder.model.schema_check import check_schema
from builder.oci.platform import Platform
from builder.plan.gpu import GpuLibraries, LibraryPart
from builder.plan.prune import PruneRules
from builder.resources import base_images_directory, own_locks_directory


class InvalidBaseSpec(SpecError):
    code = "invalid-base-spec"
    message = "{path} is not a base image description:\n{problems}"
    hint = "builder/schemas/base-image.schema.json describes every field"


class UnknownBase(UsageError):
    code = "unknown-base"
    message = "there is no base image {name!r}"
    hint = "the bases of mbuild are {known}; a base of your own is named by the directory that holds its image.yaml"


class PlatformNotOffered(UsageError):
    code = "platform-not-offered"
    message = "the base image {name} is not made for {platform}"
    hint = "it is made for {offered}; add the platform to image.yaml and lock the base anew"


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A Debian archive (``debian``, ``debian-security``) and the suites of it that packages come from."""

    name: str
    suites: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageUser:
    """The user that the image runs as; its group has the same name and number."""

    name: str
    uid: int
    home: PurePosixPath


@dataclass(frozen=True, kw_only=True, slots=True)
class BaseImage:
    """One base image. ``directory`` holds image.yaml and image.lock; ``python`` is the minor version (``3.13``).
    ``parent`` is the base whose root filesystem it has, and ``gpu`` what it has beside that; both or none.
    ``locked_in`` is where image.lock is instead, of a base that ships without one."""

    name: str
    directory: Path
    description: str
    suite: str
    archives: tuple[Archive, ...]
    components: tuple[str, ...]
    platforms: tuple[Platform, ...]
    keyring: Path
    python: str
    packages: tuple[str, ...]
    exclude: Mapping[str, str]
    rules: PruneRules
    user: ImageUser
    env: tuple[tuple[str, str], ...]
    os_release: tuple[tuple[str, str], ...]
    parent: BaseImage | None = None
    gpu: GpuLibraries | None = None
    locked_in: Path | None = None

    @property
    def lock_path(self) -> Path:
        return (self.locked_in or self.directory) / "image.lock"

    @property
    def brought(self) -> Mapping[str, str]:
        """Pins of wheels that only users can get, with the reason why."""
        gpu = self.gpu
        return {pin: gpu.brought[name] for pin in gpu.wheels if (name := wheel_of(pin)) in gpu.brought} if gpu else {}

    @property
    def closure_key(self) -> str:
        """The key of all that decides which packages are locked."""
        return content_key(
            {
                "archives": [[archive.name, *archive.suites] for archive in self.archives],
                "components": list(self.components),
                "platforms": sorted(map(str, self.platforms)),
                "packages": sorted(self.packages),
                "exclude": sorted(self.exclude),
            }
        )

    @property
    def own_env(self) -> tuple[tuple[str, str], ...]:
        """What it sets beside its parent."""
        return tuple(variable for variable in self.env if self.parent and variable not in self.parent.env)

    def require(self, platform: Platform) -> None:
        """Raises PlatformNotOffered where the base is not made for ``platform``."""
        if platform not in self.platforms:
            offered = ", ".join(map(str, self.platforms))
            raise PlatformNotOffered(name=self.name, platform=platform, offered=offered)


def base_names() -> tuple[str, ...]:
    """The bases that ship with mbuild."""
    return tuple(sorted(path.parent.name for path in base_images_directory().glob("*/image.yaml")))


def load_base(name: str, environ: Mapping[str, str] | None = None) -> BaseImage:
    """A base by its name, or by the directory of its image.yaml. ``environ`` (None: this process's own) says where the
    user's own locks are. Raises UnknownBase or InvalidBaseSpec."""
    is_shipped = name in base_names()
    directory = base_images_directory() / name if is_shipped else Path(name)
    if not (directory / "image.yaml").is_file():
        raise UnknownBase(name=name, known=", ".join(base_names()))
    image = read_spec(directory / "image.yaml")
    if not is_shipped or not image.brought:
        return image
    return replace(image, locked_in=own_locks_directory(os.environ if environ is None else environ) / name)


def wheel_of(pin: str) -> str:
    """``nvidia-cublas`` of ``nvidia-cublas==13.1.2.11``."""
    return pin.partition("==")[0]


def read_spec(path: Path) -> BaseImage:
    """Read and check one ``image.yaml``. Raises InvalidBaseSpec with every problem in it."""
    try:
        value = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise InvalidBaseSpec(path=path, problems=f"  it is not YAML: {error}") from error
    problems = list(_problems(value, path.parent))
    if problems:
        raise InvalidBaseSpec(path=path, problems="\n".join(f"  {line}" for line in problems))
    return _derived(value, path.parent) if "parent" in value else _base_image(value, path.parent)


def _problems(value: object, directory: Path) -> Iterator[str]:
    found = check_schema(value, "base-image")
    yield from (f"{problem.where or 'the file'}: {problem.text}" for problem in found)
    if found or not isinstance(value, dict):
        return
    if "parent" in value:
        yield from _derived_problems(value, directory)
        return
    for name in sorted(set(value["packages"]) & set(value.get("exclude", {}))):
        yield f"exclude.{name}: is also among packages"
    if not (directory / value["keyring"]).is_file():
        yield f"keyring: there is no file {value['keyring']}"


def _derived_problems(value: Mapping[str, Any], directory: Path) -> Iterator[str]:
    gpu = value["gpu"]
    other = ("gpu", gpu) if isinstance(gpu, str) else ("gpu.from", gpu.get("from", ""))
    for field, name in (("parent", value["parent"]), other):
        if name and not (_beside(directory, name) / "image.yaml").is_file():
            yield f"{field}: there is no base {name} beside this one"
    if isinstance(gpu, str):
        return
    wheels = set(map(wheel_of, gpu.get("wheels", ())))
    for name, part in gpu.get("parts", {}).items():
        if part["wheel"] not in wheels:
            yield f"gpu.parts.{name}.wheel: {part['wheel']} is not among gpu.wheels"
    for name in sorted(set(gpu.get("brought", {})) - wheels):
        yield f"gpu.brought.{name}: is not among gpu.wheels"


def _beside(directory: Path, name: str) -> Path:
    return directory.resolve().parent / name


def _derived(value: Mapping[str, Any], directory: Path) -> BaseImage:
    parent = read_spec(_beside(directory, value["parent"]) / "image.yaml")
    own = tuple(Platform.parse(text) for text in value.get("platforms", ()))
    return replace(
        parent,
        name=directory.resolve().name,
        directory=directory,
        description=value["description"],
        platforms=own or parent.platforms,
        env=tuple(sorted({**dict(parent.env), **value.get("env", {})}.items())),
        parent=parent,
        gpu=_gpu(value["gpu"], directory),
    )


_GPU_TEXTS = ("provider", "runtime", "cuda", "driver", "ptx", "plugin")


def _gpu(value: Mapping[str, Any] | str, directory: Path) -> GpuLibraries | None:
    if isinstance(value, str):
        return read_spec(_beside(directory, value) / "image.yaml").gpu
    other = read_spec(_beside(directory, value["from"]) / "image.yaml").gpu if "from" in value else None
    own: dict[str, Any] = {name: value[name] for name in _GPU_TEXTS if name in value}
    if "capabilities" in value:
        own["capabilities"] = tuple(value["capabilities"])
    added = {
        "wheels": tuple(value.get("wheels", ())),
        "parts": tuple(_part(name, part) for name, part in value.get("parts", {}).items()),
        "drop": value.get("drop", {}),
        "brought": value.get("brought", {}),
    }
    if other is None:
        return GpuLibraries(**own, **added)
    return replace(
        other,
        **own,
        wheels=(*other.wheels, *added["wheels"]),
        parts=(*other.parts, *added["parts"]),
        drop={**other.drop, **added["drop"]},
        brought={**other.brought, **added["brought"]},
    )


def _part(name: str, value: Mapping[str, Any]) -> LibraryPart:
    return LibraryPart(
        name=name,
        wheel=value["wheel"],
        files=tuple(value["files"]),
        why=value["why"],
        links=tuple(sorted(value.get("links", {}).items())),
    )


def _base_image(value: Mapping[str, Any], directory: Path) -> BaseImage:
    user = value["user"]
    return BaseImage(
        name=directory.resolve().name,
        directory=directory,
        description=value["description"],
        suite=value["suite"],
        archives=tuple(
            Archive(name=each["name"], suites=tuple(each["suites"]), optional=each.get("optional", False))
            for each in value["archives"]
        ),
        components=tuple(value["components"]),
        platforms=tuple(Platform.parse(text) for text in value["platforms"]),
        keyring=directory / value["keyring"],
        python=value["python"],
        packages=tuple(value["packages"]),
        exclude=value.get("exclude", {}),
        rules=PruneRules(prune=value.get("prune", {}), keep=value.get("keep", {})),
        user=ImageUser(name=user["name"], uid=user["uid"], home=PurePosixPath(user.get("home", "/nonexistent"))),
        env=tuple(sorted(value.get("env", {}).items())),
        os_release=tuple(sorted(value.get("os_release", {}).items())),
    )
