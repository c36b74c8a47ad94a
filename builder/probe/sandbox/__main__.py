"""``python -m builder.probe.sandbox CONTROL STATUS HELD SCRATCH``: three inherited descriptors and a directory. HELD is
only held: its lock says that the directory is in use."""

from __future__ import annotations

import sys
from pathlib import Path

from builder.probe.sandbox.keeper import keep

if __name__ == "__main__":
    keep(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
