"""The first program of a Triton image for a GPU: looks at the machine as the minimal server does and says the same
sentence where it does not fit (``mbuild_serve.gpu``), then becomes Triton.

With MBUILD_ALLOW_CPU=1 and no GPU that serves, Triton gets the same models with instances on the processor: copies of
``config.pbtxt`` beside links to the rest, in a directory that may be written to.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from mbuild_serve.device import begin_survey
from mbuild_serve.observe.logs import Log
from mbuild_serve.settings import SettingError, Settings
from mbuild_serve.starting import CannotStart

from .repository import for_the_cpu

_REPOSITORY = "--model-repository="


def main(command: list[str]) -> int:
    """1 where Triton is not started; else this process becomes ``command``."""
    log = Log("info")
    try:
        settings = Settings.from_environ(os.environ)
        survey = begin_survey(settings)
        device = survey.device(log) if survey else None
    except (SettingError, CannotStart) as error:
        if isinstance(error, CannotStart) and error.is_plain:
            log.plain(str(error))
        log.failure(str(error), error.__cause__ or error)
        return 1
    if device is not None and not device.is_gpu:
        into = Path(os.environ.get("TMPDIR", "/tmp"), "mbuild-models")  # noqa: S108 - the container's own
        for_the_cpu(Path(settings.models), into)
        command = [f"{_REPOSITORY}{into}" if each.startswith(_REPOSITORY) else each for each in command]
    return os.execv(command[0], command)  # noqa: S606 - Triton


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
