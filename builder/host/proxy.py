"""Through which proxy this machine calls a server: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case, as
curl and Go's httpproxy read them. This machine itself is never behind one."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def proxy_for(url: str, environ: Mapping[str, str]) -> str:
    """The proxy's URL, or nothing for a server that is called directly."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if is_loopback(host) or any(_covers(item, host, port) for item in _value("no_proxy", environ).split(",")):
        return ""
    proxy = _value(f"{parts.scheme}_proxy", environ) or _value("all_proxy", environ)
    return proxy if not proxy or "://" in proxy else f"http://{proxy}"


def _value(name: str, environ: Mapping[str, str]) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _covers(item: str, host: str, port: int) -> bool:
    """Whether one item of NO_PROXY means the host: ``*``, an address, a network, or a domain with all below it, each
    but ``*`` and a network with or without a port."""
    item = item.strip().lower()
    if not item:
        return False
    if item == "*":
        return True
    address = _address(host)
    if address is not None and "/" in item:
        try:
            return address in ipaddress.ip_network(item, strict=False)
        except ValueError:
            return False
    if _address(item) is None and item.rpartition(":")[2].isdigit():
        item, _, wanted = item.rpartition(":")
        if int(wanted) != port:
            return False
    if address is not None:
        return _address(item) == address
    domain = item.removeprefix("*").removeprefix(".")
    return host == domain or host.endswith(f".{domain}")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
