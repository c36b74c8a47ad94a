"""The config and manifest of a plan, as values. Pure; both assemblers' images are checked against the same rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builder.assemble.image import AssembledLayer
from builder.oci.config import ImageConfig
from builder.oci.manifest import Manifest
from builder.plan.image import ConfigPatch, Healthcheck, ImagePlan

_NANOSECONDS = 1_000_000_000


def image_settings(patch: ConfigPatch, base: Mapping[str, Any]) -> dict[str, object]:
    """The ``config`` object of an image: the patch on top of a base's (see ``builder.plan.image`` for the rules)."""
    env = dict(str(item).partition("=")[::2] for item in base.get("Env") or ())
    labels = {str(key): str(value) for key, value in (base.get("Labels") or {}).items()}
    ports = {*(base.get("ExposedPorts") or {}), *(f"{port}/tcp" for port in patch.ports)}
    settings: dict[str, object] = {
        "Env": [f"{key}={value}" for key, value in (env | dict(patch.env)).items()],
        "Entrypoint": list(patch.entrypoint),
        "Cmd": list(patch.cmd),
        "User": patch.user,
        "WorkingDir": patch.workdir,
        "ExposedPorts": {port: {} for port in sorted(ports)},
        "Labels": labels | dict(patch.labels),
        "StopSignal": patch.stop_signal,
        "Healthcheck": _healthcheck(patch.healthcheck),
        "Volumes": base.get("Volumes"),
    }
    return {key: value for key, value in settings.items() if value}


def _healthcheck(check: Healthcheck) -> dict[str, object]:
    """Docker's extension of the config (moby ``api/types/container.HealthConfig``); times in nanoseconds."""
    return {
        "Test": ["CMD", *check.test],
        "Interval": check.interval * _NANOSECONDS,
        "Timeout": check.timeout * _NANOSECONDS,
        "StartPeriod": check.start_period * _NANOSECONDS,
        "StartInterval": check.start_interval * _NANOSECONDS,
        "Retries": check.retries,
    }


def build_config(plan: ImagePlan, layers: Sequence[AssembledLayer]) -> ImageConfig:
    """The config of ``plan`` over all its layers, those of an upstream base included (they come first)."""
    base = ImageConfig(plan.base.config) if plan.base else None
    inherited = list((base.fields.get("history") or ()) if base else ())
    own = layers[len(plan.base.layers) :] if plan.base else layers
    if plan.base and sum(1 for item in inherited if not item.get("empty_layer")) != len(plan.base.layers):
        inherited = [{"created": plan.created, "created_by": str(plan.base.reference)} for _ in plan.base.layers]
    history = [
        {
            "created": plan.created,
            "created_by": f"mbuild: {layer.role}",
            **({"comment": one.holds} if one.holds else {}),
        }
        for layer, one in zip(own, plan.layers, strict=True)
    ]
    return ImageConfig.build(
        platform=plan.platform,
        created=plan.created,
        settings=image_settings(plan.config, base.settings if base else {}),
        diff_ids=[layer.diff_id for layer in layers],
        history=[*inherited, *history],
    )


def build_manifest(plan: ImagePlan, config: ImageConfig, layers: Sequence[AssembledLayer]) -> Manifest:
    return Manifest.build(
        config=config.descriptor,
        layers=[layer.descriptor for layer in layers],
        annotations=dict(plan.annotations),
    )
