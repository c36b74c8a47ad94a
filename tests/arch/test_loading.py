"""What loads slowly is loaded by who uses it: a build of what the cache has asks no network, engine or server."""

from __future__ import annotations

import subprocess
import sys

SLOW = ("docker", "gevent", "jinja2", "jsonschema", "requests", "tritonclient", "urllib3")


def test_a_build_loads_only_what_every_build_needs() -> None:
    code = f"import sys, builder.cli.app, builder.pipeline.build; print([m for m in {SLOW} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_no_arrays() -> None:
    code = f"import sys, builder.cli.app; print([m for m in {(*SLOW, 'numpy', 'onnx')} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
