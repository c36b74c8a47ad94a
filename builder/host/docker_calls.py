"""What a Docker engine refuses, as our errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from builder.errors import AssemblyError


class EngineFailed(AssemblyError):
    code = "docker-engine-failed"
    message = "the Docker engine could not {action}: {reason}"
    hint = "`docker info` shows whether the engine is well; `--engine embedded` does without it"


@contextmanager
def mapped(action: str) -> Iterator[None]:
    """Raises EngineFailed for what the SDK raises."""
    import docker.errors

    try:
        yield
    except (docker.errors.DockerException, OSError) as error:  # what requests raises is an OSError
        _fail(action, error)


def _fail(action: str, error: Exception) -> NoReturn:
    reason = getattr(error, "explanation", None) or str(error)
    raise EngineFailed(action=action, reason=str(reason).strip()) from error
