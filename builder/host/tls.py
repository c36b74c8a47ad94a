"""Which certificates are believed when this machine calls a server, and with which one it says who it is.

SSL_CERT_FILE (or REQUESTS_CA_BUNDLE) replaces everything else, as it does for OpenSSL. Where neither is set: the
system's own store and the bundle that came with the HTTP library. Added for one server: the ``*.crt`` files that its
administrator put into Docker's and podman's ``certs.d/HOST[:PORT]/``, so that whoever set up ``docker push`` is done.
There lie client certificates, too: ``NAME.cert`` with ``NAME.key``, shown to that server only. Verification is never
switched off.
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


class UnreadableClientCertificate(UsageError):
    code = "unreadable-client-certificate"
    message = "the client certificate {path} cannot be used: {reason}"
    hint = "certs.d/HOST:PORT/ must hold NAME.cert and NAME.key, both PEM, the key without a password"


class Trust:
    """TLS contexts by server, made once for each set of certificate files. ``bundle`` is the library's own CA file."""

    def __init__(self, environ: Mapping[str, str], bundle: str) -> None:
        self._only = environ.get("SSL_CERT_FILE") or environ.get("REQUESTS_CA_BUNDLE") or ""
        self._bundle = bundle
        self._roots = (*_users_certs_d(environ), *_SYSTEM_CERTS_D)
        self._contexts: dict[tuple[Path, ...], ssl.SSLContext] = {}

    def context(self, host: str, port: int | None) -> ssl.SSLContext:
        """The context for one server; raises UnreadableCaFile or UnreadableClientCertificate."""
        authorities, own = (tuple(self._server_files(host, port, end)) for end in ("crt", "cert"))
        key = (*authorities, *own)
        if key not in self._contexts:
            context = self._make(authorities)
            for certificate in own:
                _show(certificate, context)
            self._contexts[key] = context
        return self._contexts[key]

    def _server_files(self, host: str, port: int | None, end: str) -> Iterator[Path]:
        names = [f"{host}:{port or 443}"] + ([host] if port in (None, 443) else [])
        for root in self._roots:
            for name in names:
                yield from sorted((root / name).glob(f"*.{end}"))

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


def _show(certificate: Path, context: ssl.SSLContext) -> None:
    """Have a context show a client certificate. A key with a password would ask at the terminal: it is refused."""
    try:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"), password=lambda: "")
    except OSError as error:  # ssl.SSLError is one, too
        reason = error.strerror or str(error)
        missing = "" if certificate.with_suffix(".key").is_file() else f"there is no {certificate.stem}.key beside it"
        raise UnreadableClientCertificate(path=certificate, reason=missing or reason) from error


def _users_certs_d(environ: Mapping[str, str]) -> Iterator[Path]:
    """Docker's own place on macOS first, then that of rootless Docker and podman."""
    if docker := environ.get("DOCKER_CONFIG") or (f"{environ['HOME']}/.docker" if environ.get("HOME") else ""):
        yield Path(docker, "certs.d")
    config = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    if config:
        yield Path(config, "docker", "certs.d")
        yield Path(config, "containers", "certs.d")
