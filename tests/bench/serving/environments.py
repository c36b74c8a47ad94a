"""The peers' own environments: made by uv from ``peers/NAME/requirements.txt``, kept under mbuild's cache.

Every version is written down, those of what they bring too. Bytecode is compiled, as in an image of ours, so that a
first start is no slower than the next.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """``seconds``: what the installation took, downloads as far as uv's cache did not have them; ``size`` in bytes, as
    ``du`` would count, with bytecode."""

    bin: Path
    seconds: float
    size: int


def ensure(name: str, cache: Path) -> Environment:
    """The environment of ``peers/NAME``, installed now if it is not there."""
    requirements = PEERS / name / "requirements.txt"
    key = hashlib.sha256(f"{sys.version_info}\n{requirements.read_text()}".encode()).hexdigest()[:12]
    place = cache / "bench" / f"{name}-{key}"
    place.parent.mkdir(parents=True, exist_ok=True)
    record = place / "installed.json"
    with FileLock(f"{place}.lock"):
        if not record.exists():
            shutil.rmtree(place, ignore_errors=True)
            began = time.perf_counter()
            _uv("venv", "--quiet", "--python", sys.executable, str(place))
            python = str(place / "bin" / "python")
            _uv("pip", "install", "--quiet", "--no-deps", "--compile-bytecode", "--python", python, "-r", requirements)
            seconds = time.perf_counter() - began
            installed = Environment(bin=place / "bin", seconds=seconds, size=_size(place))
            record.write_text(json.dumps({**asdict(installed), "bin": str(installed.bin)}))
    facts = json.loads(record.read_text())
    return Environment(bin=Path(facts["bin"]), seconds=facts["seconds"], size=facts["size"])


def _uv(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "uv", *map(str, arguments)], check=True)


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if not path.is_symlink())
