"""The servers that `mbuild run` has started, and their end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from builder.errors import UsageError
from builder.host import Host
from builder.host.clock import rfc3339
from builder.host.docker import connect
from builder.pipeline.running.asking import server_url
from builder.probe.runner import RunState
from builder.probe.services import DIGEST, IMAGE, NAME, OWNER, SCHEME, SINCE, Service, find_services

_GRACE_SECONDS = 30.0


class NoSuchServer(UsageError):
    code = "no-such-server"
    message = "no server of the name {name} runs here; there is {known}"
    hint = "`mbuild ps` lists the servers that `mbuild run` has started"


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedService:
    """``url`` is empty where it has ended. ``is_detached``: it outlives the terminal that started it."""

    name: str
    id: str
    image: str
    digest: str
    engine: str
    url: str
    since: str
    is_detached: bool
    state: RunState

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "id": self.id,
            "image": self.image,
            "digest": self.digest,
            "engine": self.engine,
            "url": self.url or None,
            "since": self.since,
            "detached": self.is_detached,
            "running": self.state.running,
            "exit_code": self.state.exit_code,
        }


def list_services(host: Host) -> tuple[ListedService, ...]:
    """By name; those that have ended, too, until they are stopped or another is started."""
    return tuple(sorted(map(_listed, _services(host)), key=lambda one: one.name))


def stop_services(names: Sequence[str], host: Host) -> tuple[str, ...]:
    """End them, all where none is named, and leave nothing of them. Raises NoSuchServer before any is ended."""
    wanted = [find_service(name, host) for name in names] if names else list(_services(host))
    for service in wanted:
        service.stop(_GRACE_SECONDS)
    return tuple(service.labels[NAME] for service in wanted)


def find_service(name: str, host: Host) -> Service:
    """By its name, or by its id. Raises NoSuchServer."""
    services = list(_services(host))
    for service in services:
        if name in (service.labels[NAME], service.id):
            return service
    raise NoSuchServer(name=name, known=", ".join(service.labels[NAME] for service in services) or "none")


def _services(host: Host) -> Iterator[Service]:
    yield from find_services(connect(host.environ), host)


def _listed(service: Service) -> ListedService:
    labels, state = service.labels, service.state()
    url = server_url(labels.get(SCHEME, "http"), service.address) if state.running and service.address[1] else ""
    return ListedService(
        name=labels[NAME],
        id=service.id,
        image=labels.get(IMAGE, ""),
        digest=labels.get(DIGEST, ""),
        engine=service.engine,
        url=url,
        since=rfc3339(int(labels.get(SINCE, "0"))),
        is_detached=OWNER not in labels,
        state=state,
    )
