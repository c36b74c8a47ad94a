"""Foreign programs that read our images, as ``scripts/interop-tools`` installs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest


def find_tool(name: str) -> str:
    """The program. Skips where it is not installed."""
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    tools = Path(os.environ.get("MBUILD_TOOLS") or home / "mbuild" / "tools")
    program = shutil.which(name, path=f"{tools / 'bin'}:{os.environ.get('PATH', '')}")
    if program is None:
        pytest.skip(f"{name} is not installed (`scripts/interop-tools` does it)")
    return program


def run_tool(name: str, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What the program wrote to stdout; a failure shows its stderr. Skips where it is not installed."""
    done = subprocess.run(
        [find_tool(name), *arguments],
        env=os.environ | (env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{name} {' '.join(arguments)} failed:\n{done.stderr}{done.stdout}"
    return done.stdout
