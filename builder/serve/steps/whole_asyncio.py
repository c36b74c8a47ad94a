"""Gives asyncio back its TLS, which the server starts without (lean.py), for the code of users."""

from __future__ import annotations

import importlib
import sys


def give_asyncio_tls() -> None:
    """asyncio as everybody else has it."""
    import ssl

    for name, module in list(sys.modules.items()):
        if name.startswith("asyncio.") and getattr(module, "ssl", ssl) is None:
            module.__dict__["ssl"] = ssl
            if name == "asyncio.sslproto":  # its classes depend on it; everybody asks the module for them
                importlib.reload(module)
