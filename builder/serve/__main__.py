"""``python3 -m mbuild_serve [serve|health|selftest [--json]]``. ``health`` imports next to nothing: it runs every few
seconds."""

from __future__ import annotations

import gc
import os
import sys


def main(arguments: list[str]) -> int:
    command = arguments[0] if arguments else "serve"
    if command == "health":
        from .health import check

        return check(os.environ)
    if command == "serve" and len(arguments) <= 1:
        gc.disable()  # until all is loaded (app.py): what is made until then stays; 5 to 15 of 130 ms (measured)
        from .lean import import_asyncio_without_tls

        import_asyncio_without_tls()
        from .app import serve

        return serve(os.environ)
    if command == "selftest" and arguments[1:] in ([], ["--json"]):
        from .selftest import run

        return run(os.environ, as_json=len(arguments) > 1)
    known = "serve (the default), health, selftest [--json]"
    sys.stderr.write(f"unknown command {' '.join(arguments)!r}; the commands are: {known}\n")
    return 2


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    # Inference threads may still be inside onnxruntime; taking the interpreter apart under them could crash.
    os._exit(code)
