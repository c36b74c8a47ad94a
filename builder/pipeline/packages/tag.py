"""Gives an image in a registry another tag in its repository; nothing of it moves."""

from __future__ import annotations

from dataclasses import dataclass

from builder.errors import UsageError
from builder.host import Host
from builder.oci.reference import PinnedReference, Reference
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for
from builder.registry.push import require_registry
from builder.registry.versions import require_free


class AnotherRepository(UsageError):
    code = "another-repository"
    message = "{new} is not in the repository of {source}"
    hint = "`mbuild copy {source} {new}` takes the image there"


@dataclass(frozen=True, kw_only=True, slots=True)
class Tagged:
    """``reference`` is what the tag means now."""

    tag: str
    reference: PinnedReference

    def to_json(self) -> dict[str, object]:
        return {"tag": self.tag, "reference": str(self.reference)}


def tag_image(source: Reference, new: str, host: Host, *, force: bool = False) -> Tagged:
    """``new`` is a tag, or the whole name with it. Raises AnotherRepository, MalformedReference, without ``force``
    VersionTaken, and what a registry says."""
    require_registry(source)
    place = Reference.parse(new if "/" in new else f"{source.registry}/{source.repository}:{new}")
    if (place.registry, place.repository) != (source.registry, source.repository) or not place.tag or place.digest:
        raise AnotherRepository(new=new, source=source.familiar)
    host = acting_for(source.registry, host)
    client = connect(source, Purpose.PUSH, host)
    document = client.fetch_manifest(str(source.digest or source.tag or "latest"))
    if not force:
        require_free(place, document.descriptor.digest, host)
    client.put_manifest(document, place.tag)
    return Tagged(tag=place.tag, reference=source.at(document.descriptor.digest))
