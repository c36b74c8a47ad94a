"""Looks into an image that others made (``--base REF``): where its Python is, which version, and which loader and
glibc stand under it. Reads layers as tar members; runs and unpacks nothing.

What it needs to find: CPython 3.N as /usr/bin/python3.N or /usr/local/bin/python3.N, linked against glibc.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from builder.base.deb822 import parse_stanzas
from builder.elf import loader_cache, read_elf
from builder.elf.tree import MACHINES, TRIPLETS
from builder.errors import ResolutionError
from builder.oci.tar_reader import OPAQUE, WHITEOUT
from builder.oci.verify import UnreadableLayer

REVISION = 2
"""Bumped by hand when the same layers would give another answer."""

_DPKG = PurePosixPath("/var/lib/dpkg")
_BINARIES = ("/usr/local/bin", "/usr/bin")
_INTERPRETER = re.compile(r"python3\.(\d+)")
_GLIBC = re.compile(rb"GNU C Library [^\n]{0,80}release version (\d+\.\d+)")
_LINKS = 40
"""How many symbolic links may lie on the way to a file, as in Linux."""


class UnsupportedBase(ResolutionError):
    code = "unsupported-base"
    message = "this image cannot be a base: {reason}"
    hint = (
        "a base needs CPython {wanted} with glibc for {architecture}, as /usr/bin/python3.N or "
        "/usr/local/bin/python3.N; leave --base out for mbuild's own"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """The Python of a root filesystem. ``version`` is exact (``3.13.5``), ``glibc`` as in ``2.41``; paths are
    absolute in the image, ``path`` being the real file that no link leads away from. ``libraries`` are those that its
    loader's cache knows, by their SONAMEs."""

    path: PurePosixPath
    version: str
    architecture: str
    loader: PurePosixPath
    glibc: str
    libraries: tuple[tuple[str, PurePosixPath], ...] = ()

    @property
    def minor(self) -> str:
        """``3.13``."""
        return ".".join(self.version.split(".")[:2])

    def to_json(self) -> dict[str, object]:
        texts = {name: str(getattr(self, name)) for name in ("path", "version", "architecture", "loader", "glibc")}
        return {**texts, "libraries": [[soname, str(path)] for soname, path in self.libraries]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Interpreter:
        """The inverse of ``to_json``."""
        return cls(
            path=PurePosixPath(value["path"]),
            version=value["version"],
            architecture=value["architecture"],
            loader=PurePosixPath(value["loader"]),
            glibc=value["glibc"],
            libraries=tuple((soname, PurePosixPath(path)) for soname, path in value["libraries"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Node:
    """A path of the merged image: which layer and member gave it, and where it leads if it is a link."""

    layer: Path
    member: str
    symlink: str = ""
    hardlink: str = ""


def inspect_rootfs(
    layers: Sequence[Path], *, architecture: str, pythons: Collection[str] = ("3.11", "3.12", "3.13", "3.14")
) -> Interpreter:
    """Find the newest interpreter among ``pythons`` in an image's layers (tar files, lowest first).

    Raises UnsupportedBase where there is none that fits, UnreadableLayer for a layer that is no tar.
    """
    image = _Image(layers)
    wanted = ", ".join(pythons)

    def refuse(reason: str) -> UnsupportedBase:
        return UnsupportedBase(reason=reason, wanted=wanted, architecture=architecture)

    path, minor = _newest(image, pythons) or (None, "")
    if path is None:
        raise refuse("it has no Python")
    content = image.read(path)
    loader = _loader(content, architecture)
    if loader is None:
        raise refuse(f"{path} is not a program for {architecture} that is linked dynamically")
    glibc = _glibc(image, loader, architecture)
    if glibc is None:
        raise refuse(f"its loader is {loader}, which is not glibc's")
    version = _exact_version(content, minor) or _exact_version(_library(image, path, minor), minor)
    if version is None:
        raise refuse(f"{path} does not tell its exact version")
    return Interpreter(
        path=path,
        version=version,
        architecture=architecture,
        loader=loader,
        glibc=glibc,
        libraries=_cached(image, architecture),
    )


def missing_files(layers: Sequence[Path], wanted: Collection[PurePosixPath]) -> tuple[PurePosixPath, ...]:
    """Which of ``wanted`` an image does not have, in their order. Raises UnreadableLayer."""
    image = _Image(layers)
    return tuple(path for path in wanted if image.resolve(path) is None)


def installed_packages(layers: Sequence[Path]) -> dict[str, str]:
    """The Debian packages of an image with their versions, as dpkg's ``status`` has them, or ``status.d`` where there
    is no dpkg; none of an image of another distribution. Raises UnreadableLayer."""
    image = _Image(layers)
    apart = [path for path in image.nodes if path.parent == _DPKG / "status.d" and path.suffix != ".md5sums"]
    texts = (raw.decode(errors="replace") for raw in image.read_each([_DPKG / "status", *apart]))
    stanzas = (stanza for text in texts for stanza in parse_stanzas(text))
    found = {
        stanza["package"]: stanza.get("version", "")
        for stanza in stanzas
        if "package" in stanza and stanza.get("status", "installed").split()[-1:] == ["installed"]
    }
    return dict(sorted(found.items()))


class _Image:
    """The merged view of layers: names only; contents are read when asked for."""

    def __init__(self, layers: Sequence[Path]) -> None:
        self.nodes: dict[PurePosixPath, _Node] = {}
        for layer in layers:
            self._apply(layer)

    def _apply(self, layer: Path) -> None:
        """Add a layer's members after carrying out its whiteouts (image-spec layer.md#whiteouts)."""
        added = {}
        try:
            with tarfile.open(layer) as archive:
                for member in archive:
                    path = PurePosixPath("/", member.name)
                    if path.name.startswith(WHITEOUT):
                        self._hide(path)
                        continue
                    symlink = member.linkname if member.issym() else ""
                    hardlink = member.linkname if member.islnk() else ""
                    added[path] = _Node(layer=layer, member=member.name, symlink=symlink, hardlink=hardlink)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UnreadableLayer(reason=f"{layer.name}: {error}") from error
        self.nodes |= added

    def _hide(self, whiteout: PurePosixPath) -> None:
        opaque = whiteout.name == OPAQUE
        hidden = whiteout.parent if opaque else whiteout.with_name(whiteout.name.removeprefix(WHITEOUT))
        for path in [path for path in self.nodes if hidden in path.parents or (path == hidden and not opaque)]:
            del self.nodes[path]

    def resolve(self, path: PurePosixPath) -> PurePosixPath | None:
        """The real path behind symbolic links anywhere on the way; None where it leads nowhere."""
        done, rest, links = PurePosixPath("/"), list(path.parts[1:]), 0
        while rest:
            part = rest.pop(0)
            done = done.parent if part == ".." else done / part
            node = self.nodes.get(done)
            if node is not None and node.symlink:
                links += 1
                if links > _LINKS:
                    return None
                target = PurePosixPath(node.symlink)
                done = PurePosixPath("/") if target.is_absolute() else done.parent
                rest = [each for each in target.parts if each != "/"] + rest
        return done if done in self.nodes else None

    def read(self, path: PurePosixPath) -> bytes:
        """The bytes of a file, through links; empty where there is none."""
        real = self.resolve(path)
        if real is None:
            return b""
        node = self.nodes[real]
        if node.hardlink:
            return self.read(PurePosixPath("/", node.hardlink))
        with tarfile.open(node.layer) as archive:
            stream = archive.extractfile(node.member)
            return stream.read() if stream else b""

    def read_each(self, paths: Collection[PurePosixPath]) -> Iterator[bytes]:
        """The bytes of those of the files that are there, in no order; each layer is gone through once."""
        nodes = [self.nodes[real] for path in paths if (real := self.resolve(path))]
        for layer in dict.fromkeys(node.layer for node in nodes):
            with tarfile.open(layer) as archive:
                members = [archive.getmember(node.member) for node in nodes if node.layer == layer]
                for member in sorted(members, key=lambda one: one.offset):
                    if stream := archive.extractfile(member):
                        yield stream.read()


def _newest(image: _Image, pythons: Collection[str]) -> tuple[PurePosixPath, str] | None:
    """The interpreter of the newest wanted version; where two have it, that of /usr/local, which PATH puts first."""
    found = []
    for rank, directory in enumerate(reversed(_BINARIES)):
        for minor in pythons:
            real = image.resolve(PurePosixPath(directory, f"python{minor}"))
            if real is not None and _INTERPRETER.fullmatch(real.name):
                found.append((int(minor.partition(".")[2]), rank, real, minor))
    return max(found)[2:] if found else None


def _loader(content: bytes, architecture: str) -> PurePosixPath | None:
    """The dynamic loader that a program for ``architecture`` names; None for any other bytes."""
    program = read_elf(io.BytesIO(content))
    if program is None or program.machine != MACHINES.get(architecture) or not program.interpreter:
        return None
    return PurePosixPath(program.interpreter)


def _glibc(image: _Image, loader: PurePosixPath, architecture: str) -> str | None:
    """The version that libc.so.6 beside the loader, or in the multiarch directory, says of itself."""
    real = image.resolve(loader)
    if real is None:
        return None
    for directory in (real.parent, PurePosixPath("/usr/lib", TRIPLETS.get(architecture, ""))):
        if match := _GLIBC.search(image.read(directory / "libc.so.6")):
            return match[1].decode()
    return None


def _cached(image: _Image, architecture: str) -> tuple[tuple[str, PurePosixPath], ...]:
    """What the loader finds by its cache; nothing where there is no cache, or one that glibc would not read either."""
    content = image.read(loader_cache.PLACE)
    try:
        entries = loader_cache.read_loader_cache(content) if content else ()
    except loader_cache.BrokenLoaderCache:
        return ()
    return tuple((entry.soname, entry.path) for entry in entries if entry.is_for(architecture))


def _library(image: _Image, interpreter: PurePosixPath, minor: str) -> bytes:
    """libpython3.N.so.1.0, which holds the version where the interpreter is built as a shared library."""
    name = f"libpython{minor}.so.1.0"
    lib = interpreter.parent.parent / "lib"
    places = [path for path in image.nodes if path.name == name and lib in path.parents]
    return image.read(sorted(places)[0]) if places else b""


def _exact_version(content: bytes, minor: str) -> str | None:
    """PY_VERSION, which CPython keeps as a string of its own (Include/patchlevel.h)."""
    match = re.search(rb"\0(" + re.escape(minor).encode() + rb"\.\d+)(?:[abc+]|rc)?\d*\+?\0", content)
    return match[1].decode() if match else None
