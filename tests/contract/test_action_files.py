"""action.yml and all workflows, those that mbuild writes included, as a linter of their security sees them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from builder.deploy.documents import to_yaml
from builder.deploy.github import github_workflow
from builder.plan.fleet import PlannedMember
from tests.support.github_actions import ROOT


def zizmor(directory: Path) -> subprocess.CompletedProcess[str]:
    """Its findings are its exit status; what cannot be asked offline is left out."""
    program = Path(sys.executable).parent / "zizmor"
    command = [str(program), "--offline", "--no-progress", "--format", "plain", "."]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=120)


def test_nothing_is_found_in_ours() -> None:
    done = zizmor(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    for file in ("action.yml", "ci.yml", "build-model.yml"):
        assert file in done.stderr  # each was looked at


def test_nothing_is_found_in_what_is_written_for_others(tmp_path: Path) -> None:
    workflows = tmp_path / ".github" / "workflows"
    workflows.mkdir(parents=True)
    shutil.copy(ROOT / ".github" / "zizmor.yml", tmp_path / ".github")
    member = PlannedMember(name="digits", path="models/digits", target="cpu", tag="registry.example/digits:1")
    document = to_yaml([github_workflow([member], "acme/mbuild@v1")])
    (workflows / "models.yml").write_text(document)
    done = zizmor(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr

    # A linter that finds nothing is one that looks.
    spoilt = document + "      - run: echo ${{ github.head_ref }}\n"
    (workflows / "models.yml").write_text(spoilt)
    assert "template-injection" in zizmor(tmp_path).stdout
