"""What can be refused before anything is done: a wish that cannot come true is told at once, not after a build."""

from __future__ import annotations

from pathlib import Path

from builder.base.lock import read_lock
from builder.base.spec import load_base
from builder.errors import UsageError
from builder.host import Host
from builder.host.fs import try_writing, why_not_writable
from builder.oci.platform import Platform
from builder.pipeline.cache import parse_size
from builder.pipeline.image import epoch
from builder.pipeline.prove import can_run, foreign, is_native
from builder.pipeline.quantize import require_quantizable
from builder.plan.spec import BuildSpec, Delivery, Engine
from builder.registry.push import require_registry
from builder.render.dockerfile import require_template
from builder.targets import find_target


class PushNeedsTag(UsageError):
    code = "push-needs-tag"
    message = "--push was given, but not where to"
    hint = "add -t REGISTRY/NAME:VERSION, for example -t localhost:5000/{name}:1"


class AttachNeedsPush(UsageError):
    code = "attach-needs-push"
    message = "--{attachment} was given, but nothing is pushed that it could be attached to"
    hint = "add --push -t REF; or attach it later: `mbuild push LAYOUT REF --{attachment}`"


class NoEngines(UsageError):
    code = "no-engines"
    message = "--sm was given, but --target {target} has no engines"
    hint = "engines are made ahead with --target tensorrt"


class TemplateUnused(UsageError):
    code = "template-unused"
    message = "--template-dir was given, but --engine embedded uses no Dockerfile"
    hint = "add --engine docker, or write the Dockerfile with `mbuild render`"


class EngineBuildsItsOwn(UsageError):
    code = "engine-builds-its-own"
    message = "--engine docker builds for the engine's own platform only, and {platforms} is asked for"
    hint = "leave --engine docker out: the embedded assembler builds for every platform, without emulation"


class NothingToLoad(UsageError):
    code = "nothing-to-load"
    message = "--load was given, but none of {platforms} is this machine's platform ({machine})"
    hint = "add {machine} to --platform, or leave --load out"


class OutputNotUsable(UsageError):
    code = "output-not-usable"
    message = "the image cannot be written to {path}: {reason}"
    hint = "name a new or empty directory, or an OCI image layout"


class CacheNotUsable(UsageError):
    code = "cache-not-usable"
    message = "the cache directory {path} cannot be used: {reason}"
    hint = "name a directory that can be written in MBUILD_CACHE"


class LockIsDirectory(UsageError):
    code = "lock-is-directory"
    message = "the lock {path} is a directory"
    hint = "name a file, for example {path}/mbuild.lock"


def check_build(spec: BuildSpec, delivery: Delivery, host: Host) -> None:
    """Raises PushNeedsTag, AttachNeedsPush, TagNeedsRegistry, TemplateUnused, TemplateMissing, ForeignPlatform,
    EngineBuildsItsOwn, NothingToLoad, OutputNotUsable, MalformedSize, or what ``check_plan`` raises."""
    if delivery.push:
        if delivery.tag is None:
            raise PushNeedsTag(name=spec.model.resolve().name)
        for tag in delivery.tags:
            require_registry(tag)
    elif delivery.attach:
        raise AttachNeedsPush(attachment=delivery.attach[0])
    if delivery.template_dir:
        if delivery.engine is not Engine.DOCKER:
            raise TemplateUnused
        require_template(delivery.template_dir)
    _check_platforms(spec, delivery, host)
    check_output(delivery.output)
    if delivery.max_size:
        parse_size(delivery.max_size)
    check_plan(spec, host)


def _check_platforms(spec: BuildSpec, delivery: Delivery, host: Host) -> None:
    """At least one of several platforms must be tried here; an engine has what its own machine runs."""
    machine, platforms = Platform.of_this_machine(), ", ".join(map(str, spec.platforms))
    if delivery.engine is Engine.DOCKER and any(one.architecture != machine.architecture for one in spec.platforms):
        raise EngineBuildsItsOwn(platforms=platforms)
    if delivery.test and not any(can_run(platform, host) for platform in spec.platforms):
        raise foreign(spec.platforms)
    if delivery.load and spec.also and not any(map(is_native, spec.platforms)):
        raise NothingToLoad(platforms=platforms, machine=machine)


def check_plan(spec: BuildSpec, host: Host) -> None:
    """Raises NoEngines, QuantizedEngine, WheelsNotBrought, LockIsDirectory, MalformedEpoch or CacheNotUsable."""
    _check_engines(spec)
    _check_base(spec, host)
    if spec.lock.is_dir():
        raise LockIsDirectory(path=spec.lock)
    epoch(host.environ)
    check_cache(host)


def _check_engines(spec: BuildSpec) -> None:
    asked = spec.convert
    if asked.capabilities is None and asked.quantize is None:
        return
    target = find_target(spec.target, spec.platform, spec.server)
    if asked.capabilities is not None and not target.has_engines:
        raise NoEngines(target=target.name)
    if asked.quantize is not None:
        require_quantizable(asked.quantize, target)


def _check_base(spec: BuildSpec, host: Host) -> None:
    """A base that ships without a lock is looked at before anything is fetched."""
    target = find_target(spec.target, spec.platform, spec.server)
    if target.on_gpu and (image := load_base(target.base_image, host.environ)).brought:
        read_lock(image)


def check_output(path: Path | None) -> None:
    """Raises OutputNotUsable for a file, for a directory with other things in it, and where nothing can be written."""
    if path is None:
        return
    reason = why_not_writable(path)
    if not reason and path.exists() and any(path.iterdir()) and not (path / "oci-layout").is_file():
        reason = "it holds something else than an image"
    if reason:
        raise OutputNotUsable(path=path, reason=reason)


def check_cache(host: Host) -> None:
    """Raises CacheNotUsable, or DiskFull."""
    try:
        try_writing(host.store.root)
    except OSError as error:
        raise CacheNotUsable(path=host.store.root, reason=error.strerror or error) from error
