"""asyncio without TLS. It imports ``ssl``, with all of OpenSSL: 3.6 MB and 7 ms (measured), for what this server never
uses. Its own TLS is guard/tls.py, which imports ``ssl`` itself where it is asked for.

asyncio is made to do without, as in a Python that has no OpenSSL. User code may want it whole, and gets it
(steps/whole_asyncio.py).
"""

from __future__ import annotations

import sys


def import_asyncio_without_tls() -> None:
    """Nothing where somebody imported one of the two before."""
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # the import system's word for what cannot be imported
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]
