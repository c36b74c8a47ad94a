"""The Dockerfile of a plan, and the build context that goes with it. The only user of jinja2.

The base is one archive (``ADD base.tar /`` on ``FROM scratch``, as Debian's own images are made): a root filesystem has
sticky and special modes that a checkout or a zip would lose. The other layers are plain directories that a person can
look into. A user's ``--template-dir`` comes first; ours is the fallback.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.errors import SpecError, UsageError
from builder.plan.image import ImagePlan, LayerPlan, LayerRole
from builder.resources import templates_directory

_TEMPLATE = "Dockerfile.j2"
_COMMENTS = {
    LayerRole.BASE: "the operating system: Debian packages, pruned, no shell",
    LayerRole.RUNTIME: "the runtime: wheels, pinned by hash",
    LayerRole.LIBRARIES: "libraries for the GPU",
    LayerRole.WEIGHTS: "weights of the model",
    LayerRole.SERVER: "the server",
    LayerRole.MODEL: "the model, its description and its golden cases",
}


class TemplateFailed(SpecError):
    code = "template-failed"
    message = "the template {template} cannot be rendered: {reason}"
    hint = (
        "compare it with the one that ships with mbuild (templates/{template}); --template-dir overrides single files"
    )


class TemplateMissing(UsageError):
    code = "template-missing"
    message = "there is no {template} in {directory}"
    hint = "copy the one that ships with mbuild (templates/{template}) there and change it"


@dataclass(frozen=True, kw_only=True, slots=True)
class _LayerText:
    comment: str
    files: int
    size: str
    archive: str
    directory: str


def archive_name(layer: LayerPlan) -> str:
    """The tar in the context that holds the base layer; empty for layers that are directories."""
    return "base.tar" if layer.role is LayerRole.BASE else ""


def require_template(directory: Path) -> None:
    """Raises TemplateMissing, so that a misspelt directory is not passed over."""
    if not (directory / _TEMPLATE).is_file():
        raise TemplateMissing(template=_TEMPLATE, directory=directory)


def render_dockerfile(plan: ImagePlan, template_dir: Path | None = None) -> str:
    """The Dockerfile's text; raises TemplateFailed."""
    labels = dict(plan.config.labels)
    title = labels.get("org.opencontainers.image.title", "a model")
    return _render(
        _TEMPLATE,
        template_dir,
        {
            "title": f"{title} {labels.get('org.opencontainers.image.version', '')}".strip(),
            "base": {"reference": str(plan.base.reference) if plan.base else ""},
            "layers": [_layer_text(layer, directory) for layer, directory in layer_directories(plan)],
            "config": plan.config,
            "plan": plan,
        },
    )


def layer_directories(plan: ImagePlan) -> tuple[tuple[LayerPlan, str], ...]:
    """Each layer with its directory in the context: its role, and its part, or a number where there are several."""
    roles = [layer.role for layer in plan.layers]
    names = []
    for number, layer in enumerate(plan.layers):
        count = roles[: number + 1].count(layer.role)
        several = f"-{count:02d}" if roles.count(layer.role) > 1 else ""
        names.append(f"{layer.role.value}-{layer.part}" if layer.part else f"{layer.role.value}{several}")
    return tuple(zip(plan.layers, names, strict=True))


def _layer_text(layer: LayerPlan, directory: str) -> _LayerText:
    return _LayerText(
        comment=": ".join(filter(None, (_COMMENTS[layer.role], layer.part, ", ".join(layer.models)))),
        files=sum(1 for entry in layer.entries if entry.digest),
        size=f"{layer.size / 1e6:.1f} MB",
        archive=archive_name(layer),
        directory=directory,
    )


def _render(template: str, template_dir: Path | None, values: dict[str, object]) -> str:
    import jinja2  # here, since most builds render nothing and start sooner without

    directories = [directory for directory in (template_dir, templates_directory()) if directory]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(directories),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a Dockerfile is not HTML; values are quoted by the filters below
    )
    environment.filters["quoted"] = _quoted
    environment.filters["exec_form"] = _exec_form
    try:
        return environment.get_template(template).render(values)
    except jinja2.TemplateError as error:
        raise TemplateFailed(template=template, reason=str(error)) from error


def _quoted(value: str) -> str:
    """A double-quoted Dockerfile word: backslash, quote and dollar escaped (Dockerfile reference, ENV and LABEL)."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$").replace("\n", " ")
    return f'"{escaped}"'


def _exec_form(words: Sequence[str]) -> str:
    return json.dumps(list(words))
