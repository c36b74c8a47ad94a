"""``python -m builder.isolation STATUS``: an inherited descriptor; the request comes on stdin."""

from __future__ import annotations

import sys

from builder.isolation.launch import launch

if __name__ == "__main__":
    launch(int(sys.argv[1]))
