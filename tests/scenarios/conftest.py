"""mbuild as a user runs it: the installed command, in a process of its own, with an environment that the test chose."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from builder.host import Host
from tests.support.registries import SecuredRegistry

ROOT = Path(__file__).resolve().parents[2]
COMMAND = Path(sys.executable).parent / "mbuild"


@dataclass(frozen=True)
class Mbuild:
    """``mbuild(...)`` runs the command and gives how it ended; ``json`` expects success and gives the result."""

    cache: Path
    environ: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    umask: int = -1

    def __call__(self, *words: str | Path, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "MBUILD_CACHE": str(self.cache), "COLUMNS": "200", **self.environ, **environ}
        command = [*self.prefix, str(COMMAND), *map(str, words)]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, cwd=ROOT, umask=self.umask)

    def json(self, *words: str | Path, **environ: str) -> dict[str, Any]:
        done = self(*words, "--format", "json", **environ)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


@pytest.fixture
def mbuild(host: Host) -> Mbuild:
    """On the cache that the whole session shares."""
    return Mbuild(cache=host.store.root)


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A copy of examples/digits that a test may change."""
    return Path(shutil.copytree(ROOT / "examples" / "digits", tmp_path / "digits"))


@pytest.fixture
def registry_environ(registry: SecuredRegistry, tmp_path: Path) -> dict[str, str]:
    """What a user has who may push: the CA in Docker's certs.d, the password in Docker's config."""
    certificates = tmp_path / "config" / "docker" / "certs.d" / registry.name
    certificates.mkdir(parents=True)
    shutil.copyfile(registry.ca, certificates / "ca.crt")
    auth = base64.b64encode(f"{registry.user}:{registry.password}".encode()).decode()
    docker = tmp_path / "docker"
    docker.mkdir()
    (docker / "config.json").write_text(json.dumps({"auths": {registry.name: {"auth": auth}}}))
    return {"XDG_CONFIG_HOME": str(tmp_path / "config"), "DOCKER_CONFIG": str(docker)}


Complaint = Callable[[subprocess.CompletedProcess[str]], str]


@pytest.fixture
def complaint(tmp_path: Path, host: Host) -> Complaint:
    """What a failed command told the user, without what differs between machines and runs."""

    def read(done: subprocess.CompletedProcess[str]) -> str:
        text = done.stderr
        start = text.index("error (")
        text = text[start:].replace(str(tmp_path), "<TMP>").replace(str(host.store.root), "<CACHE>")
        return f"exit status {done.returncode}\n{text}"

    return read
