"""Static checks: what an image's layers and config alone show to be wrong. Pure; see ``StaticCheck`` for each rule."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Self

from builder.oci.entry import EntryKind
from builder.probe.closure import image_closure, library_problems
from builder.probe.contents import ImageContents, ImageFile
from builder.probe.gpu import FACTS, gpu_problems
from builder.probe.layer_contents import LayerFile
from builder.probe.runner import ProbedImage

_SHELLS = frozenset({"sh", "ash", "bash", "busybox", "csh", "dash", "fish", "ksh", "mksh", "tcsh", "toybox", "zsh"})
_SHARED = (PurePosixPath("/tmp"), PurePosixPath("/var/tmp"))  # noqa: S108 - paths in the image
_MODELS = PurePosixPath("/models")


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is wrong, in words; ``foreign`` where it comes with a base image that others made."""

    text: str
    foreign: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A rule by name with what breaks it. It passes when nothing of our own does."""

    name: str
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        return all(finding.foreign for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        findings = [{"text": finding.text, "foreign": finding.foreign} for finding in self.findings]
        return {"name": self.name, "passed": self.passed, "findings": findings}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        return cls(name=value["name"], findings=tuple(Finding(**finding) for finding in value["findings"]))


def static_checks(image: ProbedImage, contents: ImageContents) -> tuple[Check, ...]:
    """All checks that need no container."""
    env = dict(image.env)
    problems = library_problems(contents, image.config.platform, env.get("LD_LIBRARY_PATH", ""))
    libraries = tuple(
        Finding(text=f"{item.file} {item.problem}", foreign=item.layer < image.base_layers) for item in problems
    )
    files = [contents.files[path] for path in sorted(contents.files)]
    return (
        Check(name="non-root-user", findings=tuple(_user(image.user))),
        Check(name="no-shell", findings=_about(image, _those(files, _is_shell), "is a shell")),
        Check(name="no-setuid", findings=_about(image, _those(files, _is_setuid), "changes the user that runs it")),
        Check(name="no-world-writable", findings=_about(image, _those(files, _is_open), "may be written by anyone")),
        Check(name="models-readable", findings=tuple(_unreadable(image, contents))),
        Check(name="libraries-present", findings=libraries),
        *_gpu_checks(image, contents, env.get("LD_LIBRARY_PATH", "")),
        Check(name="no-telemetry", findings=tuple(_telemetry(env))),
    )


def _gpu_checks(image: ProbedImage, contents: ImageContents, library_path: str) -> Iterable[Check]:
    """Of an image for GPUs only."""
    if FACTS in contents.kept:
        found = gpu_problems(contents, image_closure(contents, image.config.platform, library_path))
        yield Check(name="gpu-libraries", findings=tuple(Finding(text=text) for text in found))


def _those(files: Iterable[ImageFile], rule: Callable[[LayerFile], bool]) -> Iterable[ImageFile]:
    return (file for file in files if rule(file.entry))


def _about(image: ProbedImage, files: Iterable[ImageFile], text: str) -> tuple[Finding, ...]:
    return tuple(Finding(text=f"{file.entry.path} {text}", foreign=file.layer < image.base_layers) for file in files)


def _user(user: str) -> Iterable[Finding]:
    uid, _, gid = user.partition(":")
    if not uid.isdecimal() or (gid and not gid.isdecimal()):
        yield Finding(text=f"the user {user!r} is not numeric, so runAsNonRoot cannot be checked before it runs")
    elif int(uid) == 0:
        yield Finding(text="it runs as root")


def _is_shell(file: LayerFile) -> bool:
    """A program or a link of that name. A script is none: it can do no more than the interpreter that runs it."""
    runs = file.kind is EntryKind.SYMLINK or (file.elf is not None and file.mode & 0o111)
    return file.path.name in _SHELLS and bool(runs)


def _is_setuid(file: LayerFile) -> bool:
    return file.kind is EntryKind.FILE and bool(file.mode & (stat.S_ISUID | stat.S_ISGID))


def _is_open(file: LayerFile) -> bool:
    shared = file.path in _SHARED and file.kind is EntryKind.DIRECTORY and file.mode & stat.S_ISVTX
    return file.kind is not EntryKind.SYMLINK and bool(file.mode & stat.S_IWOTH) and not shared


def _unreadable(image: ProbedImage, contents: ImageContents) -> Iterable[Finding]:
    """Models that the image's user may not read. A runner of an ordinary user cannot see it: it owns all files."""
    uid, _, gid = image.user.partition(":")
    owner = (int(uid), int(gid or 0)) if uid.isdecimal() and (gid or "0").isdecimal() else (0, 0)
    for file in (contents.files[path].entry for path in sorted(contents.files)):
        if file.path != _MODELS and _MODELS not in file.path.parents:
            continue
        wanted = 0o5 if file.kind is EntryKind.DIRECTORY else 0o4
        if file.kind is not EntryKind.SYMLINK and _granted(file, owner) & wanted != wanted:
            yield Finding(text=f"{file.path} (mode {file.mode:04o}) may not be read by the user {image.user}")


def _granted(file: LayerFile, owner: tuple[int, int]) -> int:
    """The permission bits that a user and group get on a file (path_resolution(7))."""
    if owner[0] in (0, file.uid):
        return file.mode >> 6 & 0o7 if owner[0] else 0o7
    return file.mode >> 3 & 0o7 if owner[1] == file.gid else file.mode & 0o7


def _telemetry(env: dict[str, str]) -> Iterable[Finding]:
    if env.get("ORT_DISABLE_TELEMETRY") != "1":
        yield Finding(text="ORT_DISABLE_TELEMETRY is not 1, so onnxruntime may call out")
