"""Triton's models with other settings than the image has, in a directory that may be written to."""

from __future__ import annotations

import shutil
from pathlib import Path

CONFIG = "config.pbtxt"
_ON_GPU, _ON_CPU = "kind: KIND_GPU", "kind: KIND_CPU"


def for_the_cpu(models: Path, into: Path) -> None:
    """``into`` becomes a repository of the same models with instances on the processor."""
    shutil.rmtree(into, ignore_errors=True)
    for config in sorted(models.glob(f"*/{CONFIG}")):
        home = into / config.parent.name
        home.mkdir(parents=True)
        for each in config.parent.iterdir():
            if each.name != CONFIG:
                (home / each.name).symlink_to(each)
        (home / CONFIG).write_text(config.read_text().replace(_ON_GPU, _ON_CPU))
