"""mbuild installed from its wheel, away from the checkout, has all that it ships with."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import uv

from tests.scenarios.conftest import ROOT

pytestmark = pytest.mark.network


def test_the_wheel_carries_its_resources_and_finds_them(tmp_path: Path) -> None:
    subprocess.run([uv.find_uv_bin(), "build", "--wheel", "--quiet", "-o", tmp_path, ROOT], check=True, timeout=300)
    (wheel,) = tmp_path.glob("mbuild-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert not [name for name in names if name.startswith(("tests/", "examples/"))]
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from builder.resources import base_images_directory as b, templates_directory as t, worker_source as w\n"
        "from builder.base.spec import load_base; from builder.base.lock import read_lock\n"
        "from builder.targets.wheel_stage import runtime_rules\n"
        "assert str(b()).startswith(sys.argv[1]), b()\n"
        "assert (t() / 'Dockerfile.j2').is_file() and w('onnx_reference').is_file()\n"
        "assert load_base('cpu').keyring.is_file(); read_lock(load_base('cpu')); runtime_rules()\n"
        "from builder.servers.http import HttpServer; assert len(HttpServer().files()) > 20\n"
        "from builder.model.schema_check import check_schema; assert check_schema({'nmae': 1}, 'model')\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, str(tmp_path / "site")], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
