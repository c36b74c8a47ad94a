"""What a directory holds and what a build would make of it, without converting or building anything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.convert.convert import SourceModel
from builder.convert.envs import find_environment
from builder.errors import MbuildError
from builder.formats import FORMATS
from builder.formats.known import recognize
from builder.host import Host
from builder.model.handler import read_handler
from builder.model.manifest import read_manifest
from builder.model.signature import Signature
from builder.model.source import Detection, ModelSource, list_model
from builder.oci.platform import Platform
from builder.pipeline.collection import find_image, member_directories
from builder.pipeline.converters import framework_version
from builder.pipeline.model import find_model, load_model
from builder.pipeline.operators import cpu_remark
from builder.targets import find_target


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """``seen`` are pairs of a file and what in it says what it is; ``golden`` are files; ``handler`` are the
    functions of the user's own handler.py, ``plain`` is the signature of what is served beside the tensors; ``remark``
    says what of the model the target's GPU does not run. What could not be found out is None or empty; ``error`` is
    what a build would stop with. Of a directory of several models ``models`` are those, and only ``manifest`` and
    ``error`` speak of the image that they go into."""

    directory: Path
    files: int = 0
    seen: tuple[tuple[str, str], ...] = ()
    manifest: str = ""
    model: Detection | None = None
    origin: SourceModel | None = None
    installed: bool = False
    golden: tuple[str, ...] = ()
    handler: tuple[str, ...] = ()
    signature: Signature | None = None
    plain: Signature | None = None
    remark: str = ""
    models: tuple[Inspection, ...] = ()
    error: MbuildError | None = None

    def to_json(self) -> dict[str, object]:
        model, origin, error = self.model, self.origin, self.error
        return {
            "directory": str(self.directory),
            "files": self.files,
            "seen": [{"file": file, "evidence": evidence} for file, evidence in self.seen],
            "manifest": self.manifest or None,
            "format": model.format if model else None,
            "wrapper": model.wrapper or None if model else None,
            "model": str(model.entry) if model else None,
            "evidence": list(model.evidence) if model else [],
            "converter": _converter_json(origin, self.installed) if origin else None,
            "golden": list(self.golden),
            "handler": list(self.handler),
            "signature": self.signature.to_json() if self.signature else None,
            "plain": self.plain.to_json() if self.plain else None,
            "remark": self.remark or None,
            "models": [one.to_json() for one in self.models],
            "error": {"code": error.code, "exit_code": error.exit_code, "message": str(error), "hint": error.advice}
            if error
            else None,
        }


def _converter_json(origin: SourceModel, installed: bool) -> dict[str, object]:
    environment = origin.converter.environment
    return {
        "framework": framework_version(origin.converter),
        "worker": origin.converter.worker,
        "environment": environment.name,
        "requirements": list(environment.requirements),
        "installed": installed,
    }


def inspect_directory(directory: Path, target: str, host: Host) -> Inspection:
    """Look at a model, or at several for one image. An error of theirs does not raise: it is part of the result."""
    result = Inspection(directory=directory)
    try:
        source = list_model(directory)
        places = member_directories(source)
        if not places:
            return inspect_model(directory, target, host)
        shown = [directory / place.relative_to(source.directory) for place in places]
        models = tuple(inspect_model(place, target, host) for place in shown)
        manifest = str(read_manifest(source).path or "")
        result = replace(result, files=len(source.files), manifest=manifest, models=models)
        find_image(directory)
        return replace(result, error=next((one.error for one in models if one.error), None))
    except MbuildError as error:
        return replace(result, error=error)


def inspect_model(directory: Path, target: str, host: Host) -> Inspection:
    """One model, as ``inspect_directory``."""
    result = Inspection(directory=directory)
    try:
        source = list_model(directory)
        result = replace(result, files=len(source.files), seen=_seen(source), golden=_golden(source))
        found = find_model(directory)
        seen = tuple(dict.fromkeys((*result.seen, *_evidence((found.detection,), source))))
        result = replace(result, manifest=str(found.manifest.path or ""), seen=seen)
        handler = read_handler(source, found.manifest.handler)
        functions = tuple(sorted(handler.functions, reverse=True)) if handler else ()
        result = replace(result, model=found.detection, origin=found.origin, handler=functions)
        if found.origin is not None:
            installed = find_environment(found.origin.converter.environment, host) is not None
            return replace(result, installed=installed)
        place = find_target(target, Platform.of_this_machine())
        model = load_model(found, place, host)
        plain = model.plain.interface.signature if model.plain else None
        remark = cpu_remark(model.artifact.operators, place)
        return replace(result, signature=model.signature, plain=plain, remark=remark)
    except MbuildError as error:
        return replace(result, error=error)


def _seen(source: ModelSource) -> tuple[tuple[str, str], ...]:
    """Every file that a format claims or that is of a known kind, once for each piece of evidence."""
    sightings = recognize(source)
    models = (model for format_ in FORMATS for model in format_.detect(source, sightings))
    seen = _evidence(models, source)
    named = ((str(sighting.path), str(sighting).removeprefix(f"{sighting.path}: ")) for sighting in sightings)
    return tuple(dict.fromkeys((*seen, *named)))


def _evidence(models: Iterable[Detection], source: ModelSource) -> tuple[tuple[str, str], ...]:
    """Each piece with the file that it is about: one that it begins with, or the model itself."""
    pairs = []
    for model in models:
        for text in model.evidence:
            file, colon, rest = text.partition(": ")
            about_a_file = colon and source.find(PurePosixPath(file))
            pairs.append((file, rest) if about_a_file else (str(model.entry), text))
    return tuple(pairs)


def _golden(source: ModelSource) -> tuple[str, ...]:
    return tuple(str(file.path) for file in source.files if file.path.parts[0] == "golden" and len(file.path.parts) > 1)
