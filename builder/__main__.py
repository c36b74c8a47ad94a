"""The ``mbuild`` program, also as ``python -m builder``."""

from __future__ import annotations

import gc

_OBJECTS_BETWEEN_COLLECTIONS = 200_000
"""Loading makes hundreds of thousands of objects that all stay. At Python's 700, looking through them for rubbish is a
fifth of the time of a start."""


def main() -> None:
    """See ``builder.cli.app.main``, which is loaded only here."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    from builder.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
