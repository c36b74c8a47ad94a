"""Containers of a Docker engine: started, found again, looked at, ended (see docker.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.host.container import ALL_GPUS, ContainerSpec, ContainerState, PortUnavailable, Published, own_address
from builder.host.docker_calls import EngineFailed, mapped

_CALL_SECONDS = 600
_NOT_FOUND, _CONFLICT = 404, 409
_LABEL = "io.mbuild.owner"
_ISOLATED, _UNROUTED, _CONNECTED = "mbuild-isolated", "mbuild-unrouted", "bridge"
_PORT_REFUSED = re.compile(r"port is already allocated|address already in use|cannot assign requested address")


class Container:
    """A started container. Whoever started it calls ``remove``."""

    def __init__(self, inner: Any, address: tuple[str, int], *, here: bool = False) -> None:
        self._inner = inner
        self._here = here
        self.id: str = inner.id
        self.address = address
        self._peak = 0

    def logs(self, tail: int = 50) -> str:
        """The last ``tail`` lines of stdout and stderr together (0: all of them)."""
        with mapped("read a container's log"):
            return bytes(self._inner.logs(tail=tail or "all")).decode(errors="replace")

    def follow(self) -> Iterator[bytes]:
        """All that it says on stdout and stderr, from its first byte on, until it ends."""
        with mapped("follow a container's log"):
            yield from self._inner.logs(stream=True, follow=True)

    @property
    def labels(self) -> Mapping[str, str]:
        return dict(self._inner.labels)

    def state(self) -> ContainerState:
        """One that somebody has removed has ended, nobody knows how."""
        import docker.errors

        with mapped("inspect a container"):
            try:
                self._inner.reload()
            except docker.errors.NotFound:
                return ContainerState(running=False, exit_code=None, out_of_memory=False, is_gone=True)
        state: Mapping[str, Any] = self._inner.attrs["State"]
        running = bool(state["Running"])
        return ContainerState(
            running=running,
            exit_code=None if running else int(state["ExitCode"]),
            out_of_memory=bool(state.get("OOMKilled")),
            is_healthy=(state.get("Health") or {}).get("Status") == "healthy",
        )

    def peak_memory_bytes(self) -> int | None:
        """The most memory the container has used so far, page cache included; ask while it runs.

        cgroup v1 tells through the API. cgroup v2 does not, so ``memory.peak`` is read where this machine has the
        cgroup; else it is the largest of the values seen at each call. None: the engine tells nothing.
        """
        with mapped("measure a container"):
            memory = self._inner.client.api.stats(self.id, stream=False, one_shot=True).get("memory_stats") or {}
        seen = (int(memory.get("max_usage") or 0), int(memory.get("usage") or 0), _cgroup_peak(self.id))
        self._peak = max(self._peak, *seen)
        return self._peak or None

    def pid(self) -> int | None:
        """Its first process, as this machine numbers it; None when it has ended or runs on another machine."""
        with mapped("inspect a container"):
            self._inner.reload()
        return int(self._inner.attrs["State"]["Pid"]) or None if self._here else None

    def stop(self, grace_seconds: int = 10) -> int:
        """SIGTERM (the image's stop signal), after the grace SIGKILL; the exit code."""
        with mapped("stop a container"):
            self._inner.stop(timeout=grace_seconds)
            return int(self._inner.wait(timeout=_CALL_SECONDS)["StatusCode"])

    def signal(self, name: str) -> None:
        """Send it a signal, SIGTERM for example; it is no error when it has ended."""
        import docker.errors

        with mapped("signal a container"):
            try:
                self._inner.kill(signal=name)
            except docker.errors.APIError as error:
                if error.status_code not in (_CONFLICT, _NOT_FOUND):
                    raise

    def remove(self) -> None:
        """Gone, running or not; it is no error when it already is, or is going."""
        import docker.errors

        with mapped("remove a container"):
            try:
                self._inner.remove(force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code not in (_CONFLICT, _NOT_FOUND):
                    raise


def _cgroup_peak(container: str) -> int:
    groups = Path("/sys/fs/cgroup")
    for place in (f"system.slice/docker-{container}.scope", f"docker/{container}"):
        try:
            return int((groups / place / "memory.peak").read_text())
        except (OSError, ValueError):
            continue
    return 0


class Containers:
    """Of one engine."""

    def __init__(self, client: Any, info: Mapping[str, Any], remote_host: str) -> None:
        self._client, self._info, self._remote_host = client, info, remote_host

    def find(self, label: str, value: str = "") -> tuple[Container, ...]:
        """See DockerEngine. One that goes in this moment is left out."""
        import docker.errors

        wanted = [f"{_LABEL}=mbuild", f"{label}={value}" if value else label]
        with mapped("list its containers"):
            found = []
            for listed in self._client.api.containers(all=True, filters={"label": wanted}):
                try:
                    inner = self._client.containers.get(listed["Id"])
                except docker.errors.NotFound:
                    continue
                found.append(Container(inner, self._published_address(inner.attrs["NetworkSettings"])))
            return tuple(found)

    def start(self, spec: ContainerSpec) -> Container:
        """Raises PortUnavailable where ``spec.published`` cannot be had."""
        try:
            return self._start(spec)
        except EngineFailed as error:
            refused = _PORT_REFUSED.search(str(error.facts["reason"]))
            if spec.published and refused and spec.published.is_wish:
                return self._start(replace(spec, published=Published(host=spec.published.host)))
            if spec.published and refused:
                facts = {"host": spec.published.host, "port": spec.published.port, "reason": refused[0]}
                raise PortUnavailable(**facts) from error
            raise

    def _start(self, spec: ContainerSpec) -> Container:
        direct = self._containers_are_routed and spec.published is None
        with mapped("start a container"):
            network, size = self._network(spec, direct), spec.tmpfs_bytes
            inner = self._client.containers.create(
                spec.image,
                command=list(spec.command) or None,
                user=spec.user or None,
                environment=dict(spec.env),
                read_only=spec.read_only,
                tmpfs=dict.fromkeys(spec.tmpfs, "rw,noexec,nosuid,nodev" + (f",size={size}" if size else "")),
                pids_limit=spec.pids,
                mem_limit=spec.memory_bytes,
                memswap_limit=spec.memory_bytes,
                nano_cpus=round(spec.cpus * 1e9) or None,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                network=network,
                ports={} if direct else {f"{spec.port}/tcp": self._publish_on(spec)},
                labels={_LABEL: "mbuild", **spec.labels},
                device_requests=_gpus(spec.gpus),
                volumes={str(mount.source): {"bind": str(mount.place), "mode": "ro"} for mount in spec.mounts},
            )
            try:
                inner.start()
                inner.reload()
                address = self._address(inner.attrs["NetworkSettings"], spec.port, direct=direct)
                return Container(inner, address, here=self._containers_are_routed)
            except BaseException:
                inner.remove(force=True, v=True)
                raise

    def _publish_on(self, spec: ContainerSpec) -> tuple[str, int | None]:
        """An engine elsewhere is reached by its own address only."""
        if self._remote_host:
            return "0.0.0.0", spec.published.port or None if spec.published else None  # noqa: S104
        return (spec.published.host, spec.published.port or None) if spec.published else ("127.0.0.1", None)

    def _address(self, settings: Mapping[str, Any], port: int, *, direct: bool) -> tuple[str, int]:
        """In its own network, or where the port was published."""
        if direct:
            (network,) = settings["Networks"].values()
            return str(network["IPAddress"]), port
        address = self._published_address(settings)
        if not address[1]:
            raise EngineFailed(action="start a container", reason="it published no port (did it end at once?)")
        return address

    def _published_address(self, settings: Mapping[str, Any]) -> tuple[str, int]:
        """The port is 0 where none is published: of a container that has ended."""
        for bound in filter(None, (settings.get("Ports") or {}).values()):
            host = str(bound[0].get("HostIp") or "0.0.0.0")  # noqa: S104 - as engines spell every address
            return self._remote_host or own_address(host), int(bound[0]["HostPort"])
        return "", 0

    @property
    def _containers_are_routed(self) -> bool:
        """Whether this machine reaches a container's own address: a Linux engine right here, not in a virtual machine
        and not rootless (its networks lie in a namespace of their own)."""
        here = Path("/proc/sys/kernel/hostname")
        same_machine = here.exists() and here.read_text().strip() == self._info.get("Name")
        rootless = any("rootless" in str(option) for option in self._info.get("SecurityOptions") or ())
        return same_machine and not rootless and not self._remote_host

    def _network(self, spec: ContainerSpec, direct: bool) -> str:
        """The id of a network without a way out, unless one is asked for. An internal one publishes no port, so where
        that is needed it is one whose packets nobody translates: they leave with an address that nothing answers."""
        import docker.errors

        if spec.is_connected:
            return _CONNECTED
        name = _ISOLATED if direct else _UNROUTED
        if not self._networks(name):
            masquerade = {} if direct else {"com.docker.network.bridge.enable_ip_masquerade": "false"}
            options = {"com.docker.network.bridge.enable_icc": "false", **masquerade}
            try:
                self._client.networks.create(
                    name, internal=direct, options=options, labels={_LABEL: "mbuild"}, check_duplicate=True
                )
            except docker.errors.APIError as error:
                if error.status_code != _CONFLICT:
                    raise
        return self._only_network(name)

    def _only_network(self, name: str) -> str:
        """Engines let two who ask at once make two of one name, and then start no container in either: those that
        everybody takes for too many are removed, unless somebody is in them."""
        import docker.errors

        first, *more = sorted(self._networks(name), key=lambda network: str(network.id))
        for network in more:
            with suppress(docker.errors.APIError):
                network.remove()
        return str(first.id)

    def _networks(self, name: str) -> list[Any]:
        return list(self._client.networks.list(names=[f"^{name}$"]))


def _gpus(number: int) -> list[dict[str, Any]] | None:
    """As ``docker run --gpus`` asks for them."""
    return [{"count": -1 if number == ALL_GPUS else number, "capabilities": [["gpu"]]}] if number else None
