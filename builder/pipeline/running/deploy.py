"""From an image's name to what a deployment has to know of it: resolved to its digest, read without a pull."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from builder.deploy.served import Served, grace_of, label_of, require_name
from builder.errors import RegistryError, UsageError
from builder.host import Host
from builder.model.attached import require_whole
from builder.oci.graph import layer_roles
from builder.oci.layout import is_layout
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference, Reference
from builder.pipeline.packages.attached import find_weights_volume
from builder.pipeline.packages.copy import source_reference
from builder.pipeline.packages.package import Package, inspect_image, inspect_layout
from builder.plan.image import LayerRole
from builder.registry.push import require_registry

_LOOKED_UP = (
    "what runs an image names it by digest, so its registry is asked for that and for what the image says of itself; "
    "without a registry: mbuild deploy ... LAYOUT --repository {registry}/{repository}"
)
_MODEL_ROLES = (LayerRole.MODEL, LayerRole.WEIGHTS)


class NothingToDeploy(UsageError):
    code = "nothing-to-deploy"
    message = "{image} does not say what it serves: mbuild did not make it"
    hint = "build it with `mbuild build MODEL_DIR --tag REF --push`, and name that"


class LayoutNeedsRepository(UsageError):
    code = "layout-needs-repository"
    message = "{layout} is a layout on this machine, which no cluster can pull from"
    hint = "add --repository REGISTRY/NAME, where `mbuild push {layout} REGISTRY/NAME:TAG` puts it"


def find_served(image: str, platform: Platform, host: Host, *, name: str = "", repository: str = "") -> Served:
    """``image`` is in a registry, or in a layout that is (or will be) in ``repository``, too: nothing is asked then.

    Raises SourceNamesNoRegistry, LayoutNeedsRepository, HalfAnImage, NothingToDeploy, MalformedName, and what
    ``inspect_image`` and ``inspect_layout`` raise.
    """
    if is_layout(Path(image)):
        if not repository:
            raise LayoutNeedsRepository(layout=image)
        package, reference = inspect_layout(Path(image), platform), Reference.parse(repository)
        require_registry(reference)
    else:
        reference = source_reference(image)
        try:
            package = inspect_image(reference, platform, host)
        except RegistryError as error:
            error.add_note(_LOOKED_UP.format(registry=reference.registry, repository=reference.repository))
            raise
    return served(package, reference.at(package.digest), name)


class NoWeightsImage(UsageError):
    code = "no-weights-image"
    message = "no image of the weights alone is attached to {image}"
    hint = "`mbuild push LAYOUT REF --weights-image` (or `mbuild build ... --push --weights-image`) attaches one"


def with_weights_volume(served: Served, host: Host) -> Served:
    """Run in two parts, as they are attached to it in its registry. Raises NoWeightsImage, and what that says."""
    volume = find_weights_volume(served.image, host)
    if volume is None:
        raise NoWeightsImage(image=served.image)
    return replace(served, volume=volume)


def served(package: Package, image: PinnedReference, name: str = "") -> Served:
    """Pure. Raises HalfAnImage, NothingToDeploy, MalformedName."""
    require_whole(package.config.labels, image)
    if package.face is None:
        raise NothingToDeploy(image=image)
    settings = package.settings
    return Served(
        name=require_name(name) if name else label_of(package.face.name),
        image=image,
        face=package.face,
        measured=package.measured,
        platforms=tuple(platform for platform, _ in package.platforms),
        grace_seconds=grace_of(settings.get("env", ()), settings.get("entrypoint", ())),
        model_bytes=_model_bytes(package),
    )


def _model_bytes(package: Package) -> int:
    """As they travel: weights are not compressed."""
    roles = layer_roles(package.manifest, package.config)
    return sum(layer.size for layer, role in zip(package.manifest.layers, roles, strict=True) if role in _MODEL_ROLES)
