"""Registries with TLS and a password: what a client needs to use one."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.oci.reference import Reference


@dataclass(frozen=True)
class SecuredRegistry:
    """``name`` is host:port; ``ca`` the PEM file that signed its certificate."""

    name: str
    user: str
    password: str
    ca: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> SecuredRegistry | None:
        """As ``scripts/services env`` exports it; None where it does not run."""
        if not environ.get("MBUILD_TEST_REGISTRY"):
            return None
        return cls(
            name=environ["MBUILD_TEST_REGISTRY"],
            user=environ["MBUILD_TEST_REGISTRY_USER"],
            password=environ["MBUILD_TEST_REGISTRY_PASSWORD"],
            ca=Path(environ["MBUILD_TEST_REGISTRY_CA"]),
        )

    @property
    def environ(self) -> dict[str, str]:
        """For mbuild: the CA and the credentials, which count for this registry only."""
        return {
            "SSL_CERT_FILE": str(self.ca),
            "MBUILD_REGISTRY": self.name,
            "MBUILD_REGISTRY_USERNAME": self.user,
            "MBUILD_REGISTRY_PASSWORD": self.password,
        }

    def fresh(self, name: str, tag: str = "1") -> Reference:
        """A reference in a repository that nobody has used."""
        return Reference(registry=self.name, repository=f"{name}-{uuid.uuid4().hex[:12]}", tag=tag)
