"""The server's certificate, its key, and the authorities of its clients, in the form that TLS handshakes take.

TLS 1.2 and 1.3 with Python's ciphers (forward secrecy, authenticated). Renewed files serve the next handshake.
"""

from __future__ import annotations

import ssl

from ..environment import SettingError, secret_text
from .watched import Watched

CERT, KEY, CLIENT_CA = "MBUILD_TLS_CERT", "MBUILD_TLS_KEY", "MBUILD_TLS_CLIENT_CA"


class Certificates:
    """``context`` is for the next handshake. Raises SettingError."""

    def __init__(self, cert: str, key: str, client_ca: str) -> None:
        self._files = (cert, key, client_ca)
        self._watched = Watched(*(name for name in self._files if name))
        self.context = _context(*self._files)

    @property
    def mutual(self) -> bool:
        """Whether clients must bring a certificate."""
        return bool(self._files[2])

    def reread(self) -> bool:
        """Whether a file has changed and all were read again. Raises SettingError, then everything stays as it was."""
        if not self._watched.changed():
            return False
        self.context = _context(*self._files)
        return True


def _context(cert: str, key: str, client_ca: str) -> ssl.SSLContext:
    if not cert or not key:
        absent, present = (CERT, KEY if key else CLIENT_CA) if not cert else (KEY, CERT)
        raise SettingError(f"{absent} is not set, but {present} is: TLS takes a certificate and its key.")
    _must_have(CERT, cert, "-----BEGIN CERTIFICATE-----", "a certificate")
    if "ENCRYPTED" in _must_have(KEY, key, "PRIVATE KEY-----", "a private key"):
        raise SettingError(f"{KEY}: {key} is encrypted; a server that starts alone needs it without a passphrase.")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
            raise SettingError(f"{KEY}: {key} is not the key of the first certificate in {cert} ({CERT}).") from error
        raise SettingError(f"{CERT}, {KEY}: {cert} and {key} cannot be used: {_reason(error)}.") from error
    if client_ca:
        _must_have(CLIENT_CA, client_ca, "-----BEGIN CERTIFICATE-----", "a certificate")
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(client_ca)
        except ssl.SSLError as error:
            raise SettingError(f"{CLIENT_CA}: {client_ca} cannot be used: {_reason(error)}.") from error
    return context


def _must_have(variable: str, name: str, mark: str, what: str) -> str:
    text = secret_text(variable, name)
    if mark not in text:
        raise SettingError(f"{variable}: {name} has no {what.removeprefix('a ')} in PEM form.")
    return text


def _no_password() -> str:
    raise ValueError("it is encrypted")  # else OpenSSL asks on the terminal


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason).replace("_", " ").lower() if reason else str(error)
