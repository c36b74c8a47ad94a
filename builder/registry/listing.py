"""What a registry has: its repositories (the catalog, which many registries do not have) and the tags of one
(distribution-spec v1.1.1, "Listing Tags"), page by page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http import HTTPStatus

from builder.errors import RegistryError
from builder.host import Host
from builder.host.http import Request
from builder.oci.reference import Reference
from builder.registry.client import MANIFEST_LIMIT, RegistryClient, connect, connect_whole
from builder.registry.credentials import Purpose
from builder.registry.errors import AccessDenied, CredentialsMissing, NotThere, RegistryRefused, unexpected

_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_PAGE = 1000
_MOST_PAGES = 1000
_OF_REFERRERS = re.compile(r"sha256-[0-9a-f]{64}(?:\..*)?")
"""Tags under which artifacts about an image are listed where a registry has no other place for them."""


class NoCatalog(RegistryError):
    code = "no-catalog"
    message = "the registry {registry} does not list its repositories: {reason}"
    hint = "many do not, or only to some users; name the repository: `mbuild ls {registry}/REPOSITORY`"


class EndlessList(RegistryError):
    code = "endless-list"
    message = "the registry {registry} goes on listing after {pages} pages"
    hint = "name one repository: `mbuild ls {registry}/REPOSITORY`"


def list_repositories(registry: str, host: Host) -> tuple[str, ...]:
    """All that the registry shows us, sorted. Raises NoCatalog, WrongCredentials, RegistryError."""
    client = connect_whole(registry, host)
    url = f"{client.exchange.origin}/v2/_catalog?n={_PAGE}"
    try:
        return tuple(sorted(_pages(client, url, "repositories")))
    except (AccessDenied, CredentialsMissing, NotThere, RegistryRefused) as error:
        raise NoCatalog(registry=registry, reason=f"status {error.facts.get('status')} of /v2/_catalog") from error


def list_tags(repository: Reference, host: Host) -> tuple[str, ...]:
    """Those that people gave, sorted. Raises NotThere where there is no such repository, and what a registry says."""
    tags = all_tags(connect(repository, Purpose.PULL, host))
    return tuple(tag for tag in tags if not is_of_referrers(tag))


def all_tags(client: RegistryClient) -> tuple[str, ...]:
    """The same with those under which artifacts about images are listed."""
    return tuple(sorted(_pages(client, f"{client.exchange.url('tags', 'list')}?n={_PAGE}", "tags")))


def is_of_referrers(tag: str) -> bool:
    """Whether it is the tag of what is about an image, and nobody's name for one."""
    return _OF_REFERRERS.fullmatch(tag) is not None


def _pages(client: RegistryClient, url: str, field: str) -> Iterator[str]:
    for _ in range(_MOST_PAGES):
        names, link = client.retry(lambda url=url: _page(client, url, field))  # type: ignore[misc]
        yield from names
        if not link:
            return
        url = client.exchange.location(link)
    raise EndlessList(registry=client.exchange.registry, pages=_MOST_PAGES)


def _page(client: RegistryClient, url: str, field: str) -> tuple[list[str], str]:
    with client.exchange.send(Request(verb="GET", url=url)) as response:
        client.exchange.expect(response, "GET", HTTPStatus.OK)
        following = _NEXT.search(response.headers.get("Link", ""))
        try:
            value = json.loads(response.read(MANIFEST_LIMIT))
        except (ValueError, RecursionError) as error:
            raise unexpected(response, "GET", f"not JSON ({error})") from error
        listed = value.get(field) if isinstance(value, dict) else []
        if listed is not None and not (isinstance(listed, list) and all(isinstance(one, str) for one in listed)):
            raise unexpected(response, "GET", f"{field} is not a list of names")
    return listed or [], following[1] if following else ""
