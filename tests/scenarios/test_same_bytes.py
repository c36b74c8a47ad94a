"""Same inputs and lock, same digest: from empty caches, in other directories, as other users, in other places of the
world."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from builder.oci.layout import Layout
from builder.oci.validate import validate_image
from tests.scenarios.conftest import ROOT, Mbuild

pytestmark = pytest.mark.network

ELSEWHERE = {"LC_ALL": "C", "TZ": "Pacific/Auckland", "PYTHONHASHSEED": "7"}
NOBODY = 65534


def as_nobody(directory: Path) -> tuple[str, ...]:
    """Run what follows as an unprivileged user who may read, and only read, what root may (this checkout may lie in
    root's home). Empty for those who are not root."""
    if os.geteuid() != 0:
        return ()
    for path in (directory, *directory.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return ("setpriv", *ids, "--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--")


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A temporary directory that other users can reach (pytest's own is closed to them)."""
    path = Path(tempfile.mkdtemp(prefix="mbuild-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def test_root_and_nobody_build_the_same_digest_from_empty_caches(open_place: Path) -> None:
    results = []
    for name, umask, environ in (("one", 0o022, {}), ("two/deeper place", 0o077, ELSEWHERE)):
        place = open_place / name
        place.mkdir(parents=True)
        model = shutil.copytree(ROOT / "examples" / "digits", place / "digits", copy_function=shutil.copyfile)
        (model / "mbuild.lock").unlink(missing_ok=True)
        prefix = as_nobody(place) if environ else ()
        mbuild = Mbuild(cache=place / "cache", environ={**environ, "HOME": str(place)}, prefix=prefix, umask=umask)
        results.append((mbuild.json(model, "--no-load"), (model / "mbuild.lock").read_bytes()))
    (first, first_lock), (second, second_lock) = results
    assert first_lock == second_lock
    assert first["image"]["digest"] == second["image"]["digest"]
    assert [layer["digest"] for layer in first["layers"]] == [layer["digest"] for layer in second["layers"]]
    assert not any(step["cached"] for step in second["steps"] if step["name"] in ("verify", "stage", "assemble"))


def test_source_date_epoch_is_the_creation_time_and_moves_no_layer(mbuild: Mbuild, digits: Path) -> None:
    words = (digits, "--no-test", "--no-load")
    plain = mbuild.json(*words)
    dated = mbuild.json(*words, SOURCE_DATE_EPOCH="1700000000")
    assert plain["image"]["digest"] != dated["image"]["digest"]
    assert plain["layers"] == dated["layers"]
    assert mbuild.json(*words, SOURCE_DATE_EPOCH="1700000000")["image"] == dated["image"]
    assert mbuild.json("plan", digits, SOURCE_DATE_EPOCH="1700000000")["created"] == "2023-11-14T22:13:20Z"


def test_a_lock_that_no_longer_fits_is_refused_and_says_why(mbuild: Mbuild, digits: Path) -> None:
    mbuild.json(digits, "--no-test", "--no-load")
    manifest = digits / "model.yaml"
    manifest.write_text(manifest.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    done = mbuild(digits, "--no-test", "--no-load", "--locked")
    assert done.returncode == 7
    assert "model: sha256:" in done.stderr
    mbuild.json(digits, "--no-test", "--no-load")
    mbuild.json(digits, "--no-test", "--no-load", "--locked")


def test_another_platform_needs_no_machine_of_its_kind(mbuild: Mbuild, digits: Path) -> None:
    result = mbuild.json(digits, "--platform", "linux/arm64", "--no-load", "--no-test")
    assert result["image"]["platform"] == "linux/arm64"
    assert result["identifier"] == "onnx-http-cpu-linux_arm64"


def test_builds_of_two_targets_at_once_share_a_lock(mbuild: Mbuild, digits: Path) -> None:
    platforms = ("linux/amd64", "linux/arm64")
    for platform in platforms:
        mbuild.json("plan", digits, "--platform", platform)
    (digits / "mbuild.lock").unlink()
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda platform: mbuild.json("plan", digits, "--platform", platform), platforms))
    for platform in platforms:
        mbuild.json("plan", digits, "--platform", platform, "--locked")


def test_a_damaged_cache_makes_no_other_image(digits: Path, tmp_path: Path) -> None:
    mbuild = Mbuild(cache=tmp_path / "cache")
    words = (digits, "--no-test", "--no-load")
    expected = mbuild.json(*words)["image"]["digest"]
    for pattern in ("blobs/sha256/*", "directories/*/*/tree.json", "directories/*/*/files/*", "records/layers/*.json"):
        for path in sorted(mbuild.cache.glob(pattern))[::7]:
            content = bytearray(path.read_bytes())
            content[len(content) // 2 : len(content) // 2 + 1] = b"~"
            path.write_bytes(content)
    result = mbuild.json(*words)
    assert result["image"]["digest"] == expected
    layout = Layout(Path(result["files"]["layout"]))
    validate_image(layout, layout.find())
    mbuild("cache", "verify")
    assert "everything is as it was made" in mbuild("cache", "verify").stdout
