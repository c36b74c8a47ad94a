"""An OCI image layout directory (image-spec image-layout.md): reading, and adding images to it.

What is named by ``index.json`` is whole: blobs are put in place by rename, ``index.json`` last. Every read is verified.
Images in OCI and in Docker media types are read; a manifest may lie below a nested index.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from builder.errors import IntegrityError, UsageError
from builder.oci.config import ImageConfig
from builder.oci.descriptor import INDEX_TYPES, MANIFEST_TYPES, Descriptor
from builder.oci.digest import Digest
from builder.oci.manifest import Document, Index, MalformedManifest, Manifest
from builder.oci.platform import Platform
from builder.oci.verify import MOST_JSON, TooLarge, read_verified, verified

REFERENCE_NAME = "org.opencontainers.image.ref.name"
_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_DEEPEST = 4
Slot = tuple[str, str]


class NotALayout(UsageError):
    code = "not-a-layout"
    message = "{path} is not an OCI image layout: {reason}"
    hint = "name a directory that `mbuild build -o DIR` wrote, one with oci-layout and index.json in it"


class MissingBlob(IntegrityError):
    code = "missing-blob"
    message = "the layout {path} has no blob {digest}"
    hint = "the layout is incomplete; build or copy it again"


class NoSuchImage(UsageError):
    code = "no-such-image"
    message = "{path} holds no image{wanted}; it holds {held}"
    hint = "name one that is there, or build for the platform that you want with --platform"


class AmbiguousImage(UsageError):
    code = "ambiguous-image"
    message = "{path} holds several images{wanted}: {held}"
    hint = "say which one with --platform, or name the reference that it was built as"


def is_layout(directory: Path) -> bool:
    """Whether the file is there that every layout has (image-spec image-layout.md)."""
    return (directory / "oci-layout").is_file()


@dataclass(frozen=True, slots=True)
class Layout:
    """A layout at ``path``; it need not exist before something is written."""

    path: Path

    # reading

    @property
    def index(self) -> Index:
        """``index.json``; raises NotALayout or TooLarge."""
        file = self.path / "index.json"
        try:
            if file.stat().st_size > MOST_JSON:
                raise TooLarge(what=file, limit=MOST_JSON)
            index = Index(file.read_bytes())
            _ = index.manifests
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotALayout(path=self.path, reason=self._what_is_missing()) from error
        except MalformedManifest as error:
            raise NotALayout(path=self.path, reason=f"in index.json, {error}") from error
        return index

    def _what_is_missing(self) -> str:
        if self.path.is_dir():
            return "there is no index.json"
        return "it is a file" if self.path.exists() else "there is nothing of that name"

    def blob_path(self, digest: Digest) -> Path:
        return self.path / "blobs" / "sha256" / digest.hex

    def open_blob(self, digest: Digest) -> IO[bytes]:
        """The stored bytes, not verified; raises MissingBlob."""
        try:
            return self.blob_path(digest).open("rb")
        except FileNotFoundError as error:
            raise MissingBlob(path=self.path, digest=digest) from error

    def read_blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The stored bytes in chunks; raises MissingBlob, and WrongBytes at the latest at the end."""
        with self.open_blob(descriptor.digest) as stream:
            yield from verified(stream, descriptor)

    def document(self, descriptor: Descriptor) -> Document:
        """A manifest or an index, as it is stored."""
        raw = self._small_blob(descriptor, "a manifest or index")
        return Document(descriptor=replace(descriptor, annotations={}, platform=None), raw=raw)

    def manifest(self, descriptor: Descriptor) -> Manifest:
        return Manifest(self._small_blob(descriptor, "an image manifest"))

    def config(self, manifest: Manifest) -> ImageConfig:
        return ImageConfig(self._small_blob(manifest.config, "an image config"))

    def _small_blob(self, descriptor: Descriptor, what: str) -> bytes:
        with self.open_blob(descriptor.digest) as stream:
            return read_verified(stream, descriptor, what)

    def images(self) -> Iterator[Descriptor]:
        """Every image manifest, with the platform and the reference name of the index entry that leads to it."""
        for entry in self.index.manifests:
            yield from self._flattened(entry, entry.annotations.get(REFERENCE_NAME, ""), _DEEPEST)

    def _flattened(self, entry: Descriptor, name: str, depth: int) -> Iterator[Descriptor]:
        if entry.media_type in MANIFEST_TYPES:
            named = {**entry.annotations, **({REFERENCE_NAME: name} if name else {})}
            yield replace(entry, platform=entry.platform or self._platform_of(entry), annotations=named)
        elif entry.media_type in INDEX_TYPES and depth:
            for inner in Index(self._small_blob(entry, "an image index")).manifests:
                yield from self._flattened(inner, name, depth - 1)

    def _platform_of(self, entry: Descriptor) -> Platform:
        return self.config(self.manifest(entry)).platform

    def find(self, reference: str = "", platform: Platform | None = None) -> Descriptor:
        """The one image manifest with this reference name and platform (each where given).

        Raises NoSuchImage, and AmbiguousImage where more than one manifest fits.
        """
        images = list(self.images())
        fitting = {
            image.digest: image
            for image in images
            if (not reference or image.annotations.get(REFERENCE_NAME) == reference)
            and (platform is None or image.platform == platform)
        }
        if len(fitting) == 1:
            return next(iter(fitting.values()))
        wanted = (f" {reference}" if reference else "") + (f" for {platform}" if platform else "")
        if not fitting:
            raise NoSuchImage(path=self.path, wanted=wanted, held=_listed(images))
        raise AmbiguousImage(path=self.path, wanted=wanted, held=_listed(fitting.values()))

    # writing

    def write_image(
        self, manifest: Manifest, config: ImageConfig, source: Callable[[Digest], Path], reference: str = ""
    ) -> Descriptor:
        """Add an image whose layers lie at ``source(digest)``; see ``write``."""
        top = replace(manifest.descriptor, platform=config.platform)
        return self.write(top, (config.raw, manifest.raw), manifest.layers, source, reference)

    def write(
        self,
        top: Descriptor,
        documents: Iterable[bytes],
        blobs: Iterable[Descriptor],
        source: Callable[[Digest], Path],
        reference: str = "",
    ) -> Descriptor:
        """Add a manifest or an index (``top``, one of ``documents``) whose other blobs lie at ``source(digest)``; they
        are hard-linked where possible, else copied.

        Replaces what has the same reference name and platform, and removes the blobs that only that one used.
        """
        (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        self._remove_parts_of_the_dead()
        for blob in blobs:
            self._link_blob(source(blob.digest), blob)
        for document in documents:
            self._write(self.blob_path(Digest.of(document)), document)
        entry = replace(top, annotations={REFERENCE_NAME: reference} if reference else {})
        if not (self.path / "oci-layout").exists():
            self._write(self.path / "oci-layout", _MARKER)
        self._enter(entry)
        return entry

    def _remove_parts_of_the_dead(self) -> None:
        """What processes left here that were killed: their number is in the name."""
        for part in (*self.path.glob(".part-*"), *self.path.glob("blobs/sha256/.part-*")):
            try:
                os.kill(int(part.name.split("-")[1]), 0)
            except ProcessLookupError:
                part.unlink(missing_ok=True)
            except (OSError, ValueError, IndexError):  # somebody else's process or file
                continue

    def _enter(self, entry: Descriptor) -> None:
        before = self.index.manifests if (self.path / "index.json").exists() else ()
        taken = self._slots(entry)
        kept = [left for old in before for left in self._left_of(old, taken)]
        self._write(self.path / "index.json", Index.build(sorted([*kept, entry], key=_slot)).raw)
        live = self._reachable([*kept, entry])
        for digest in self._reachable(old for old in before if old not in kept) - live:
            self.blob_path(digest).unlink(missing_ok=True)

    def _left_of(self, old: Descriptor, taken: set[Slot]) -> Iterator[Descriptor]:
        """An entry as it was; where some of its places are taken, those of its images that keep theirs."""
        if taken.isdisjoint(self._slots(old)):
            yield old
        else:
            yield from (image for image in self._inner(old) if _slot(image) not in taken)

    def _slots(self, entry: Descriptor) -> set[Slot]:
        return {_slot(entry), *map(_slot, self._inner(entry))}

    def _inner(self, entry: Descriptor) -> tuple[Descriptor, ...]:
        """The images of an index without a name: each is in a place of its own, as if there were no index."""
        if entry.media_type not in INDEX_TYPES or REFERENCE_NAME in entry.annotations:
            return ()
        with suppress(IntegrityError):
            return Index(self._small_blob(entry, "an image index")).manifests
        return ()

    def _reachable(self, entries: Iterable[Descriptor]) -> set[Digest]:
        """The digests of all blobs below some index entries, as far as they can be read."""
        found: set[Digest] = set()
        for entry in entries:
            found.add(entry.digest)
            with suppress(IntegrityError):
                if entry.media_type in INDEX_TYPES:
                    found |= self._reachable(Index(self._small_blob(entry, "an image index")).manifests)
                else:
                    manifest = self.manifest(entry)
                    found |= {manifest.config.digest, *(layer.digest for layer in manifest.layers)}
        return found

    def _link_blob(self, source: Path, descriptor: Descriptor) -> None:
        """A blob that is there is kept where it has the source's size and time of change: nobody wrote to it since."""
        destination = self.blob_path(descriptor.digest)
        if destination.is_file() and _stamp(destination) == _stamp(source):
            return
        part = _part(destination)
        try:
            try:
                os.link(source, part)
            except FileNotFoundError:
                raise
            except OSError:
                shutil.copyfile(source, part)
                os.utime(part, ns=(source.stat().st_mtime_ns,) * 2)
            part.replace(destination)
        finally:
            part.unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        part = _part(path)
        try:
            part.write_bytes(content)
            part.chmod(0o644)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _part(path: Path) -> Path:
    return path.with_name(f".part-{os.getpid()}-{path.name}")


def _slot(entry: Descriptor) -> Slot:
    """What an index holds once: a reference name on a platform. An index has none: it is there once for a name."""
    name = entry.annotations.get(REFERENCE_NAME, "")
    return name, str(entry.platform or (entry.media_type if name else entry.digest))


def _listed(images: Iterable[Descriptor]) -> str:
    names = sorted((str(image.platform), image.annotations.get(REFERENCE_NAME, str(image.digest))) for image in images)
    return ", ".join(f"{name} ({platform})" for platform, name in names) or "none"
