"""Which base an image stands on, our own or an upstream one, seen the same way by the steps that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from builder.base.lock import BaseLock, read_lock
from builder.base.spec import BaseImage, load_base
from builder.base.stage import base_key, stage_base
from builder.base.upstream import REVISION, Interpreter, inspect_rootfs, installed_packages, missing_files
from builder.canonical import content_key
from builder.errors import ResolutionError
from builder.host import Host
from builder.host.clock import rfc3339, seconds_of_date
from builder.host.trees import StagedTree
from builder.oci.config import ImageConfig
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.plan.gpu import GpuLibraries
from builder.plan.image import UpstreamBase
from builder.plan.spec import BuildSpec
from builder.plan.wheel import LockedWheel
from builder.registry.pull import pull_base
from builder.targets import Target

_INSPECTED, _PACKAGES = "inspected-bases", "packages-of-bases"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnBase:
    """A base of base-images/, made here from Debian packages."""

    image: BaseImage
    lock: BaseLock

    def stage(self, platform: Platform, host: Host) -> StagedTree:
        """Its files, without bytecode."""
        return stage_base(self.image, self.lock, platform, host)


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiler:
    """The base of ours whose Python compiles the image's bytecode, and the version of its package. Nothing of an
    upstream image is executed here; bytecode is the same format within a minor version (PEP 3147)."""

    own: OwnBase
    python: str
    package: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OfferedLibraries:
    """The GPU libraries that can go on a base: those of our base ``name``, from ``wheels``, with the variables ``env``
    beside them. ``present`` are libraries that the base has already, by their SONAMEs."""

    name: str
    gpu: GpuLibraries
    wheels: tuple[LockedWheel, ...]
    env: tuple[tuple[str, str], ...]
    present: tuple[tuple[str, PurePosixPath], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedBase:
    """What the other steps need to know of a base. ``python`` is exact (3.13.5), ``glibc`` as in (2, 41), ``created``
    RFC 3339; one of ``own`` and ``upstream`` is set; without a ``compiler`` the image has no bytecode; ``gpu`` is None
    where the image is for processors. Where the server is the base's own, ``python`` is empty
    and ``interpreter`` and ``glibc`` mean nothing. ``packages`` are the Debian packages with their versions."""

    name: str
    digest: Digest
    python: str
    interpreter: PurePosixPath
    glibc: tuple[int, int]
    created: str
    compiler: Compiler | None
    own: OwnBase | None = None
    upstream: UpstreamBase | None = None
    gpu: OfferedLibraries | None = None
    packages: Mapping[str, str] = field(default_factory=dict)


class BaseLacksServer(ResolutionError):
    code = "base-lacks-server"
    message = "the base {base} has no {missing}"
    hint = "with this server --base names an image that has it, such as NVIDIA's own; leave --base out for mbuild's"


def resolve_base(spec: BuildSpec, target: Target, programs: tuple[PurePosixPath, ...], host: Host) -> ResolvedBase:
    """The base that the spec asks for. An upstream one is pulled into the store; ours is read from its lock.
    ``programs``: what an upstream base must have instead of Python. Raises BaseLacksServer."""
    if spec.base is None:
        return own_base(target.base_image, spec.platform, host.environ)
    pulled = pull_base(spec.base, spec.platform, host)
    return _with_server(pulled, programs, host) if programs else _upstream(pulled, spec.platform, target, host)


def _with_server(base: UpstreamBase, programs: tuple[PurePosixPath, ...], host: Host) -> ResolvedBase:
    name = f"{base.reference.registry}/{base.reference.repository}"
    missing = missing_files(_layers(base, host), programs)
    if missing:
        raise BaseLacksServer(base=name, missing=", ".join(map(str, missing)))
    return ResolvedBase(
        name=name,
        digest=base.reference.digest,
        python="",
        interpreter=PurePosixPath("/"),
        glibc=(0, 0),
        created=_created(base),
        compiler=None,
        upstream=base,
        packages=_packages(base, host),
    )


def _created(base: UpstreamBase) -> str:
    return str(ImageConfig(base.config).fields.get("created") or "1970-01-01T00:00:00Z")


def own_base(name: str, platform: Platform, environ: Mapping[str, str]) -> ResolvedBase:
    """A base of base-images/ as its lock has it. Raises UnknownBase, PlatformNotOffered, BaseNotLocked or
    WheelsNotBrought."""
    image = load_base(name, environ)
    image.require(platform)
    lock = read_lock(image)
    newest = max(seconds_of_date(release.date) for release in lock.releases)
    own = OwnBase(image=image, lock=lock)
    return ResolvedBase(
        name=name,
        digest=_digest(image, lock, platform),
        python=lock.python,
        interpreter=PurePosixPath(f"/usr/bin/python{image.python}"),
        glibc=glibc_of(lock, platform),
        created=rfc3339(int(newest)),
        compiler=_compiler(own, platform),
        own=own,
        gpu=_offered(own, platform),
        packages={package.package: package.version for package in lock.platforms[platform]},
    )


def _offered(own: OwnBase, platform: Platform) -> OfferedLibraries | None:
    image = own.image
    if image.gpu is None:
        return None
    return OfferedLibraries(name=image.name, gpu=image.gpu, wheels=own.lock.libraries[platform], env=image.own_env)


def _digest(image: BaseImage, lock: BaseLock, platform: Platform) -> Digest:
    """Of everything that a base puts into an image."""
    rootfs = base_key(image, lock, platform)
    if image.gpu is None:
        return Digest.from_hex(rootfs)
    parts = [[part.name, part.wheel, *part.files] for part in image.gpu.parts]
    wheels = [wheel.sha256 for wheel in lock.libraries[platform]]
    facts = image.gpu.described(image.name, {})
    return Digest.from_hex(content_key({"rootfs": rootfs, "parts": parts, "wheels": wheels, "facts": facts}))


def _compiler(own: OwnBase, platform: Platform) -> Compiler:
    name = f"python{own.image.python}-minimal"
    package = next(package for package in own.lock.platforms[platform] if package.package == name)
    return Compiler(own=own, python=own.lock.python, package=f"{name} {package.version}")


def _upstream(base: UpstreamBase, platform: Platform, target: Target, host: Host) -> ResolvedBase:
    found = _interpreter(base, platform, host)
    own = own_base(target.base_image, platform, host.environ)
    ours = own.compiler
    return ResolvedBase(
        name=f"{base.reference.registry}/{base.reference.repository}",
        digest=base.reference.digest,
        python=found.version,
        interpreter=found.path,
        glibc=_glibc(found.glibc),
        created=_created(base),
        compiler=ours if ours and ours.own.image.python == found.minor else None,
        upstream=base,
        gpu=replace(own.gpu, present=found.libraries) if own.gpu else None,
        packages=_packages(base, host),
    )


def _interpreter(base: UpstreamBase, platform: Platform, host: Host) -> Interpreter:
    """Looked for once: reading the layers takes seconds."""
    if known := host.store.record(_INSPECTED, _inspection(base)):
        return Interpreter.from_json(known)
    found = inspect_rootfs(_layers(base, host), architecture=platform.architecture)
    host.store.put_record(_INSPECTED, _inspection(base), found.to_json())
    return found


def _packages(base: UpstreamBase, host: Host) -> Mapping[str, str]:
    """Read once, too."""
    known = host.store.record(_PACKAGES, _inspection(base))
    if known is None:
        known = {"packages": installed_packages(_layers(base, host))}
        host.store.put_record(_PACKAGES, _inspection(base), known)
    return dict(known["packages"])


def _inspection(base: UpstreamBase) -> str:
    return content_key({"layers": [str(layer.digest) for layer in base.layers], "revision": REVISION})


def _layers(base: UpstreamBase, host: Host) -> list[Path]:
    return [host.store.blob_path(layer.digest) for layer in base.layers]


def glibc_of(lock: BaseLock, platform: Platform) -> tuple[int, int]:
    """The version of a base's glibc, as in (2, 41)."""
    return _glibc(next(package for package in lock.platforms[platform] if package.package == "libc6").version)


def _glibc(version: str) -> tuple[int, int]:
    """(2, 41) from 2.41 or 2.41-12+deb13u1."""
    major, minor = version.partition("-")[0].split(".")[:2]
    return int(major), int(minor)
