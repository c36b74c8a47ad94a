"""A build that is killed again and again ends with the digest of one that was not; an image comes out of a registry."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

import pytest

from builder.host import Host
from tests.scenarios.conftest import COMMAND, ROOT, Mbuild
from tests.support.registries import SecuredRegistry

QUIET = ("--no-test", "--no-load")
MADE_AGAIN = ("records/layers", "records/validated-layers", "directories/wheels", "directories/base", "images")


def half_empty(cache: Path, place: Path) -> Path:
    """The cache, by hard links, without what staging and assembling make; downloads and environments are there."""

    def passing(directory: str, names: list[str]) -> list[str]:
        """What other tests, which share the cache, may take away meanwhile."""
        if Path(directory) == cache:
            return ["tmp", "scratch", "sessions", "partial"]
        return [name for name in names if any(map(partial(fnmatch, name), (".part-*", ".*.seal.*", ".*.json.*")))]

    shutil.copytree(cache, place, symlinks=True, copy_function=os.link, ignore=passing)
    for name in MADE_AGAIN:
        shutil.rmtree(place / name, ignore_errors=True)
    for layer in (place / "blobs" / "sha256").iterdir():
        with layer.open("rb") as stream:
            if stream.read(2) == b"\x1f\x8b":  # gzip: layers are, wheels and Debian packages are not
                layer.unlink()
    return place


def until_at_work(run: subprocess.Popen[str], cache: Path) -> None:
    """Until something unfinished lies in the cache, or nothing was left to do."""
    while run.poll() is None and not list(cache.glob("*/*/.part-*")):
        time.sleep(0.01)


def killed_build(model: Path, cache: Path, seconds: float) -> tuple[bool, str]:
    """Killed so many seconds after its work began: whether it had ended before, and what it said."""
    argv = [COMMAND, model, *QUIET, "--locked"]
    env = {**os.environ, "MBUILD_CACHE": str(cache)}
    with subprocess.Popen(argv, env=env, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        until_at_work(run, cache)
        time.sleep(seconds)
        finished = run.poll() is not None
        if not finished:
            os.killpg(run.pid, signal.SIGKILL)
        return finished, run.communicate()[1]


@pytest.mark.network
def test_killed_again_and_again(
    host: Host, mbuild: Mbuild, digits: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """``--kills 50`` kills more often than CI has time for."""
    expected = mbuild.json(digits, *QUIET)["image"]["digest"]
    again = replace(mbuild, cache=half_empty(host.store.root, tmp_path / "cache"))
    chance, said = random.Random(9), ""
    for number in range(pytestconfig.getoption("kills")):
        finished, told = killed_build(digits, again.cache, number and chance.random())
        said += told
        if finished:
            again = replace(mbuild, cache=half_empty(host.store.root, tmp_path / f"cache-{number}"))
    done = again(digits, *QUIET, "--locked", "-o", tmp_path / "out", "--format", "json")
    assert done.returncode == 0, done.stderr
    said += done.stderr
    assert f'"digest": "{expected}"' in done.stdout
    assert not list(again.cache.rglob(".part-*"))
    assert again("cache", "verify").stdout == "everything is as it was made\n"
    assert "left unfinished" in said, "what was removed is told"

    layer = json.loads(done.stdout)["layers"][-1]["digest"].removeprefix("sha256:")
    damaged = again.cache / "blobs" / "sha256" / layer
    damaged.unlink()
    damaged.write_bytes(b"something else")
    mended = again(digits, *QUIET, "--locked", "--format", "json")
    assert f'"digest": "{expected}"' in mended.stdout
    assert f"made again in the cache what was damaged: blobs/sha256/{layer}" in mended.stderr


@pytest.mark.network
@pytest.mark.registry
def test_in_and_out_of_a_registry(
    mbuild: Mbuild, digits: Path, tmp_path: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    there = replace(mbuild, environ=registry_environ)
    first, second = str(registry.fresh("out")), str(registry.fresh("mirror"))
    built = there.json(digits, *QUIET, "-t", first, "--push")
    assert set(built["push"]["by_role"]) == {"base", "runtime", "server", "model", "config", "manifest"}
    copied = there.json("copy", first, second)
    assert copied["reference"].endswith(built["image"]["digest"])
    assert not any(copied["by_role"][role].get("uploaded") for role in ("base", "runtime", "server", "model"))
    files = tmp_path / "files"
    there.json("pull", second, "--model-only", "-o", files)
    assert (files / "models/digits/1/model.onnx").read_bytes() == (digits / "model.onnx").read_bytes()
    pulled = there.json("pull", second, "-o", tmp_path / "layout")
    assert pulled["reference"].endswith(built["image"]["digest"])
    assert pulled["downloaded"] <= sum(built["push"]["by_role"]["config"].values()), "the cache has the layers"
