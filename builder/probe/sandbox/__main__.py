"""``python -m builder.probe.sandbox CONTROL STATUS SCRATCH``: two inherited descriptors and a directory."""

from __future__ import annotations

import sys
from pathlib import Path

from builder.probe.sandbox.keeper import keep

if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
