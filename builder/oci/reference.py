"""Image references in the grammar of ``distribution/reference``: ``[registry/]repository[:tag][@digest]``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from builder.errors import UsageError
from builder.oci.digest import Digest

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_REGISTRY = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_DEFAULT_REGISTRY = "docker.io"


class MalformedReference(UsageError):
    code = "malformed-reference"
    message = "{text!r} is not an image reference: {reason}"
    hint = "write it as [registry[:port]/]repository[:tag], in lower case, for example localhost:5000/digits:1"


def _is_registry(first: str) -> bool:
    return "." in first or ":" in first or first == "localhost" or first != first.lower()


def names_image(text: str) -> bool:
    """Whether somebody means an image by it where there is no such directory: it says a registry, a tag or a digest."""
    first, slash, rest = text.partition("/")
    has_registry = bool(slash) and _is_registry(first) and first.strip(".") == first
    return has_registry or ":" in (rest or first).rpartition("/")[2] or "@" in text


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """Where an image is: ``registry`` (host[:port]), ``repository``, and a ``tag``, a ``digest``, both or neither."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a reference; raises MalformedReference with the part that is wrong."""
        rest, _, digest_text = text.partition("@")
        name, tag = rest, ""
        if ":" in rest.rsplit("/", 1)[-1]:
            name, _, tag = rest.rpartition(":")
            if not _TAG.fullmatch(tag):
                raise MalformedReference(text=text, reason=f"the tag {tag!r} is malformed")
        first, slash, remainder = name.partition("/")
        registry, repository = (first, remainder) if slash and _is_registry(first) else (_DEFAULT_REGISTRY, name)
        if registry == _DEFAULT_REGISTRY and "/" not in repository:
            repository = f"library/{repository}"
        if not _REGISTRY.fullmatch(registry):
            raise MalformedReference(text=text, reason=f"the registry {registry!r} is malformed")
        if not _REPOSITORY.fullmatch(repository) or len(repository) > 255:
            raise MalformedReference(text=text, reason=f"the repository {repository!r} is malformed")
        digest = Digest(digest_text) if digest_text else None
        return cls(registry=registry, repository=repository, tag=tag, digest=digest)

    @property
    def familiar(self) -> str:
        """As ``docker`` prints it: without the default registry and namespace."""
        text = str(self)
        return text.removeprefix(f"{_DEFAULT_REGISTRY}/").removeprefix("library/")

    @property
    def is_bare(self) -> bool:
        """Whether it is one name without registry or account: ``digits:1``, one of Docker Hub's own images."""
        return self.registry == _DEFAULT_REGISTRY and self.repository.startswith("library/")

    def at(self, digest: Digest) -> PinnedReference:
        return PinnedReference(registry=self.registry, repository=self.repository, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.registry}/{self.repository}{tag}{digest}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PinnedReference:
    """A reference that names exact bytes: registry, repository and digest."""

    registry: str
    repository: str
    digest: Digest

    def __str__(self) -> str:
        return f"{self.registry}/{self.repository}@{self.digest}"
