"""What `make test-cuda` runs: too much to download for CI, which has tests/scenarios/test_cuda.py."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("MBUILD_TEST_CUDA") else ["test_*.py"]
