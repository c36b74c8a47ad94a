"""The error families of mbuild and how an error is written.

An error class names what happened. It declares ``message`` and ``hint`` as format strings over its facts; the
constructor takes only those facts, so a message can never disagree with the data that a program reads.
Concrete errors live beside the code that raises them; this module owns the families and their exit codes.
A test checks that each ``code`` is unique and that each ``raise`` gives the facts its strings ask for.
"""

from __future__ import annotations

from typing import ClassVar


class MbuildError(Exception):
    """Base of all errors that mbuild raises on purpose.

    ``code`` is unique and kebab-case; ``exit_code`` is the process status; ``temporary`` says that the same call may
    succeed later (the retry policy reads only that).
    """

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 70
    message: ClassVar[str] = "mbuild failed in a way it did not expect"
    hint: ClassVar[str] = ""

    def __init__(self, **facts: object) -> None:
        self.facts = facts
        super().__init__(self.message.format_map(facts))

    @property
    def temporary(self) -> bool:
        return bool(self.facts.get("temporary", False))

    @property
    def advice(self) -> str:
        """What to do next, or an empty string."""
        return self.hint.format_map(self.facts)


class UsageError(MbuildError):
    """The command line asks for something that does not exist or does not fit together."""

    code = "usage"
    exit_code = 2


class SpecError(MbuildError):
    """A file that the user wrote (model.yaml, a golden case, a lock) is wrong."""

    code = "spec"
    exit_code = 3


class UnsupportedModel(MbuildError):
    """The model directory holds nothing that mbuild can read, or not safely."""

    code = "unsupported-model"
    exit_code = 4


class ConversionError(MbuildError):
    """A worker failed to convert, optimise or run the model."""

    code = "conversion"
    exit_code = 5


class ParityError(MbuildError):
    """Two runs of the same model disagree by more than the tolerance."""

    code = "parity"
    exit_code = 6


class ResolutionError(MbuildError):
    """No set of packages, wheels or bases satisfies the request, or the lock has drifted."""

    code = "resolution"
    exit_code = 7


class AssemblyError(MbuildError):
    """The image could not be put together."""

    code = "assembly"
    exit_code = 8


class ProbeError(MbuildError):
    """The image was built but does not serve as it must."""

    code = "probe"
    exit_code = 9


class RegistryError(MbuildError):
    """A registry refused, or could not be reached. Facts: verb, url (redacted), status, oci_codes, temporary."""

    code = "registry"
    exit_code = 10


class IntegrityError(MbuildError):
    """Bytes are not what their digest, size or signature says."""

    code = "integrity"
    exit_code = 11


class AttestationError(MbuildError):
    """An attestation is missing, unsigned or says something else."""

    code = "attestation"
    exit_code = 12


class ToolMissing(MbuildError):
    """A program or a service that this step needs is not on this machine."""

    code = "tool-missing"
    exit_code = 13
