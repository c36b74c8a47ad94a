"""Which certificates are believed when this machine calls a server.

SSL_CERT_FILE (or REQUESTS_CA_BUNDLE) replaces everything else, as it does for OpenSSL. Where neither is set: the
system's own store and the bundle that came with the HTTP library. Added for one server: the ``*.crt`` files that its
administrator put into Docker's and podman's ``certs.d/HOST[:PORT]/``, so that whoever set up ``docker push`` is done.
Verification is never switched off.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

from builder.errors import UsageError

_SYSTEM_CERTS_D = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))


class UnreadableCaFile(UsageError):
    code = "unreadable-ca-file"
    message = "the CA file {path} cannot be used: {reason}"
    hint = "SSL_CERT_FILE must name a PEM file (or a directory) of CA certificates; unset it to use the system's"


class Trust:
    """TLS contexts by server, made once for each set of certificate files. ``bundle`` is the library's own CA file."""

    def __init__(self, environ: Mapping[str, str], bundle: str) -> None:
        self._only = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE") or ""
        self._bundle = bundle
        self._roots = (*_users_certs_d(environ), *_SYSTEM_CERTS_D)
        self._contexts: dict[tuple[Path, ...], ssl.SSLContext] = {}

    def context(self, host: str, port: int | None) -> ssl.SSLContext:
        """The context for one server; raises UnreadableCaFile."""
        files = tuple(self._server_files(host, port))
        if files not in self._contexts:
            self._contexts[files] = self._make(files)
        return self._contexts[files]

    def _server_files(self, host: str, port: int | None) -> Iterator[Path]:
        names = [f"{host}:{port or 443}"] + ([host] if port in (None, 443) else [])
        for root in self._roots:
            for name in names:
                yield from sorted((root / name).glob("*.crt"))

    def _make(self, files: tuple[Path, ...]) -> ssl.SSLContext:
        only = Path(self._only)
        if not self._only:
            context = ssl.create_default_context()
            files = (Path(self._bundle), *files)
        elif only.is_dir():
            context = ssl.create_default_context(capath=str(only))
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            files = (only, *files)
        for path in files:
            try:
                context.load_verify_locations(cafile=path)
            except OSError as error:  # ssl.SSLError is one, too
                raise UnreadableCaFile(path=path, reason=error.strerror or error) from error
        return context


def _users_certs_d(environ: Mapping[str, str]) -> Iterator[Path]:
    config = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    if config:
        yield Path(config, "docker", "certs.d")
        yield Path(config, "containers", "certs.d")
