"""``--env python=PATH``: a Python of the user's own converts, known by its versions and not by its place."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from builder.convert.converters import CONVERTERS
from builder.convert.envs import EnvironmentSpec, ensure_environment
from builder.convert.own import NoPythonThere, OwnEnvironmentLacks, own_environment
from builder.events import Warned
from builder.host import Host
from builder.host.fs import link_or_copy
from tests.scenarios.conftest import ROOT, Mbuild
from tests.support.hosts import RecordedEvents, fresh_host

pytestmark = pytest.mark.network

LIGHTGBM = CONVERTERS["lightgbm"]
PLAIN = Path(getattr(sys, "_base_executable", sys.executable))


@pytest.fixture(scope="module")
def python(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a virtual environment that is not where mbuild's are."""
    locked = ensure_environment(LIGHTGBM.environment, host).parent.parent
    mine = tmp_path_factory.mktemp("mine") / "venv"
    shutil.copytree(
        locked, mine, symlinks=True, copy_function=lambda source, target: link_or_copy(Path(source), Path(target))
    )
    return mine / "bin" / "python"


def test_it_converts_and_the_lock_says_whose_it_was(mbuild: Mbuild, host: Host, python: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "examples" / "lightgbm", model)
    own = Mbuild(cache=fresh_host(tmp_path / "cache", host).store.root)
    planned = own("plan", model, "--env", f"python={python}")
    assert planned.returncode == 0, planned.stderr
    assert "warning" not in planned.stderr.lower()
    (entry,) = json.loads((model / "mbuild.lock").read_text())["targets"].values()
    assert entry["tools"]["convert.env"] == "user"
    assert entry["tools"]["convert.lightgbm"] == "4.7.0"
    assert str(python.parent) not in (model / "mbuild.lock").read_text()
    kept = sorted(path.name for path in (own.cache / "directories" / "converted").iterdir())
    moved = python.parent.parent.rename(tmp_path / "moved") / "bin" / "python"
    again = own("plan", model, "--locked", "--env", f"python={moved}")
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in (own.cache / "directories" / "converted").iterdir()) == kept
    moved.parent.parent.rename(python.parent.parent)
    drifted = mbuild("plan", model, "--locked")
    assert drifted.returncode == 7
    assert "an environment of the user's own (--env) when the lock was written, and now in that of mbuild" in " ".join(
        drifted.stderr.split()
    )


def test_other_versions_are_taken_and_said(host: Host, python: Path, tmp_path: Path) -> None:
    pins = [pin.replace("joblib==1.6.0", "joblib==1.5.0") for pin in LIGHTGBM.environment.requirements]
    newer = replace(LIGHTGBM, environment=EnvironmentSpec(name="other", requirements=tuple(pins)))
    mine = fresh_host(tmp_path / "cache", host)
    own = own_environment(python, newer, mine)
    assert dict(own.versions)["joblib"] == "1.6.0"
    assert isinstance(mine.events, RecordedEvents)
    (warning,) = [event for event in mine.events.events if isinstance(event, Warned)]
    assert warning.message.endswith("joblib 1.6.0 instead of 1.5.0")


def test_one_without_the_packages_is_refused_with_the_pins(host: Host) -> None:
    with pytest.raises(OwnEnvironmentLacks, match=r"lightgbm==4\.7\.0") as caught:
        own_environment(PLAIN, LIGHTGBM, host)
    assert caught.value.exit_code == 7


def test_a_program_that_is_no_python_is_refused(host: Host) -> None:
    with pytest.raises(NoPythonThere, match="/bin/true") as caught:
        own_environment(Path("/bin/true"), LIGHTGBM, host)
    assert caught.value.exit_code == 2
