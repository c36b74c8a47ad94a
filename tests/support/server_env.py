"""The environment in which the server's tests run it: onnxruntime is not one of mbuild's own dependencies.

Made once with uv under the user's cache; the server's source is then run in it. MBUILD_TEST_SERVER_PYTHON chooses
another Python than the tests' own, such as the 3.13 that images have.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

REQUIREMENTS = ("onnxruntime==1.31.1", "numpy==2.4.6", "orjson==3.13.0", "tokenizers==0.23.3", "pillow==13.0.0")


def server_python() -> Path:
    """The interpreter of that environment, made now if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mbuild" / "tests"
    interpreter = os.environ.get("MBUILD_TEST_SERVER_PYTHON", sys.executable)
    name = "-".join(["server", interpreter.strip("/").replace("/", "_"), *REQUIREMENTS]).replace("==", "")
    environment = cache / name
    python = environment / "bin" / "python"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{environment}.lock"):
        if not (environment / "complete").exists():
            shutil.rmtree(environment, ignore_errors=True)
            _uv("venv", "--quiet", "--python", interpreter, str(environment))
            _uv("pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "--python", str(python), *REQUIREMENTS)
            (environment / "complete").touch()
    return python


def _uv(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "uv", *arguments], check=True)
