"""``docker run`` to the first right answer, against a ``docker run`` of the same image that starts Python and ends."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import time
from typing import Any

from tests.bench.rows import COMMAND
from tests.bench.serving.dialects import V2_JSON, WrongAnswer, check
from tests.bench.serving.models import Model
from tests.support.services import engine_answers, free_port

TAG = "mbuild-bench-serving:latest"
_SECONDS = 60.0
_STEP = 0.005


def reachable() -> bool:
    return shutil.which("docker") is not None and engine_answers()


def load_image(model: Model) -> None:
    command = [COMMAND, model.directory, "--no-test", "--load", "-t", TAG]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-600:])


def remove_image() -> None:
    subprocess.run(["docker", "image", "rm", "--force", TAG], check=False, capture_output=True)


def nothing(model: Model) -> dict[str, Any]:
    """The seconds of a container that imports nothing and ends."""
    began = time.perf_counter()
    _docker("run", "--rm", *_alike(free_port()), "--entrypoint", model.image.argv[0], TAG, "-c", "pass")
    return {"seconds": time.perf_counter() - began}


def answer(model: Model) -> dict[str, Any]:
    """The seconds to the first right answer, and how the server itself split them."""
    port = free_port()
    began = time.perf_counter()
    name = _docker("run", "--detach", *_alike(port), TAG).strip()
    try:
        while True:
            try:
                check(port, model, V2_JSON)
                break
            except (OSError, http.client.HTTPException, WrongAnswer) as error:
                if time.perf_counter() - began > _SECONDS:
                    raise RuntimeError(f"{error}: {_docker('logs', name)}") from error
            time.sleep(_STEP)
        return {"seconds": time.perf_counter() - began, "split": split(_docker("logs", name))}
    finally:
        _docker("rm", "--force", name)


def _alike(port: int) -> list[str]:
    return ["--read-only", "--publish", f"127.0.0.1:{port}:8000"]


def _docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode:
        raise RuntimeError(f"docker {words[0]}: {done.stderr.strip()}")
    return done.stdout + done.stderr


def split(log: str) -> dict[str, float]:
    """Of the server's ready event: seconds in all, and those of imports, sessions and warm-up."""
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and str(event.get("message", "")).startswith("ready"):
            return {name: value for name, value in event.items() if name.startswith("seconds")}
    return {}
