"""The servers of the bench: ours in their images, and the peers in their own environments, each as its documentation
starts it, with its access log off and one intra-op thread in onnxruntime."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from builder.serve.settings import Settings
from builder.servers import SERVERS as PACKED
from tests.bench.serving.constant import answer_of, program
from tests.bench.serving.dialects import ARRAY, FIELDS, INVOCATIONS, PREDICT, V2_BINARY, V2_JSON, Dialect
from tests.bench.serving.environments import PEERS, Environment, ensure
from tests.bench.serving.models import NAMES, Image, Model, built, jailed
from tests.support.services import free_port


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What starts a server on ``port``."""

    argv: list[str]
    env: Mapping[str, str]
    cwd: Path
    port: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """Where the bench keeps what it makes (``place``) and what it installs (``cache``)."""

    place: Path
    cache: Path


Prepare = Callable[[Model, Bench], Callable[[], Launch]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Server:
    """``prepare`` does what comes before a start and is not measured; what it gives makes a launch on a new port.
    ``environment`` names the directory of peers/ that it is installed from. ``is_limit``: it is neither ours nor a
    peer, but what none of them can pass. It is visited with ``models``."""

    name: str
    title: str
    ours: bool = False
    is_limit: bool = False
    models: tuple[str, ...] = NAMES
    environment: str = ""
    forms: Mapping[str, Dialect] = field(default_factory=dict)
    prepare: Prepare


# ours


def _image(server: str, env: Mapping[str, str] | None = None) -> Prepare:
    def prepare(model: Model, bench: Bench) -> Callable[[], Launch]:
        image = (
            model.image if server == "http" else built(model.directory, bench.place / f"{model.name}-{server}", server)
        )

        def launch() -> Launch:
            port = free_port()
            return Launch(argv=_on_port(image, port, env or {}), env={}, cwd=bench.place, port=port)

        return launch

    return prepare


def _on_port(image: Image, port: int, env: Mapping[str, str]) -> list[str]:
    if image.server == "http":
        return jailed(image, image.argv, {"MBUILD_HOST": "127.0.0.1", "MBUILD_PORT": str(port), **env})
    ports = {"http": port, "grpc": free_port(), "metrics": free_port()}
    return jailed(image, [*image.argv, *(f"--{kind}-port={number}" for kind, number in ports.items())], env)


# peers


def _peer(name: str, words: Callable[[Path, int], list[str]], env: Mapping[str, str] | None = None) -> Prepare:
    """``words``: the command below the environment's bin, in a copy of the peer's directory."""

    def prepare(model: Model, bench: Bench) -> Callable[[], Launch]:
        environment, home = ensure(name, bench.cache), _copied(name, model, bench)

        def launch() -> Launch:
            port = free_port()
            program, *rest = words(home, port)
            surroundings = {**_surroundings(environment, home, model), **(env or {})}
            return Launch(argv=[str(environment.bin / program), *rest], env=surroundings, cwd=home, port=port)

        return launch

    return prepare


def _copied(name: str, model: Model, bench: Bench) -> Path:
    home = (bench.place / "peers" / f"{name}-{model.name}").absolute()
    shutil.copytree(PEERS / name, home, dirs_exist_ok=True)
    return home


def _surroundings(environment: Environment, home: Path, model: Model) -> dict[str, str]:
    return {
        "PATH": f"{environment.bin}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "MODEL": str(model.graph.absolute()),
        "ORT_DISABLE_TELEMETRY": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _uvicorn(home: Path, port: int) -> list[str]:
    return ["uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port), "--no-access-log"]


def _bentoml(home: Path, port: int) -> list[str]:
    return ["bentoml", "serve", "app:Graph", "--host", "127.0.0.1", "--port", str(port)]


def _mlserver(model: Model, bench: Bench) -> Callable[[], Launch]:
    """``parallel_workers`` 0: in the server's own process, the faster of its two shapes."""
    environment, home = ensure("mlserver", bench.cache), _copied("mlserver", model, bench)
    described = {
        "name": model.name,
        "implementation": "app.Graph",
        "parameters": {"uri": str(model.graph.absolute())},
    }
    (home / "model-settings.json").write_text(json.dumps(described))

    def launch() -> Launch:
        port = free_port()
        env = {
            **_surroundings(environment, home, model),
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(free_port()),
            "MLSERVER_METRICS_PORT": str(free_port()),
            "MLSERVER_PARALLEL_WORKERS": "0",
            "MLSERVER_DEBUG": "false",
        }
        return Launch(argv=[str(environment.bin / "mlserver"), "start", "."], env=env, cwd=home, port=port)

    return launch


def _mlflow(model: Model, bench: Bench) -> Callable[[], Launch]:
    environment, home = ensure("mlflow", bench.cache), _copied("mlflow", model, bench)
    env = _surroundings(environment, home, model)
    if not (home / "saved" / "MLmodel").exists():
        shutil.rmtree(home / "saved", ignore_errors=True)
        command = [environment.bin / "python", "app.py", "saved"]
        done = subprocess.run(command, env=env, cwd=home, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip()[-500:])

    def launch() -> Launch:
        port = free_port()
        words = ["models", "serve", "--model-uri", "saved", "--env-manager", "local", "--host", "127.0.0.1"]
        argv = [str(environment.bin / "mlflow"), *words, "--port", str(port)]
        return Launch(argv=argv, env=env, cwd=home, port=port)

    return launch


def _constant(model: Model, bench: Bench) -> Callable[[], Launch]:
    home = (bench.place / "constant").absolute()
    compiled, answer = program(home), home / f"{model.name}.http"
    answer.write_bytes(answer_of(model))

    def launch() -> Launch:
        port = free_port()
        return Launch(argv=[str(compiled), str(port), str(answer)], env={}, cwd=home, port=port)

    return launch


_V2 = {"json": V2_JSON, "binary": V2_BINARY}
_CONSTANT = Server(
    name="constant",
    title="a server that does nothing, in C",
    is_limit=True,
    models=("mlp",),
    forms={"json": V2_JSON},
    prepare=_constant,
)


def available() -> tuple[Server, ...]:
    """All that this checkout can pack or start, ours first."""
    found = [Server(name="http", title="mbuild http", ours=True, forms=_V2, prepare=_image("http"))]
    if "processes" in {each.name for each in fields(Settings)}:
        two = _image("http", {"MBUILD_PROCESSES": "2"})
        found.append(Server(name="http-2p", title="mbuild http, 2 processes", ours=True, forms=_V2, prepare=two))
    if "triton" in PACKED:
        found.append(Server(name="triton", title="mbuild triton", ours=True, forms=_V2, prepare=_image("triton")))
    return (*found, *_PEERS, _CONSTANT)


def impatient(seconds: float) -> Server:
    """Ours, with that deadline for waiting in its queue."""
    prepare = _image("http", {"MBUILD_QUEUE_TIMEOUT": str(seconds)})
    return Server(name="http", title="mbuild http", ours=True, forms=_V2, prepare=prepare)


_PEERS = (
    Server(
        name="fastapi-orjson",
        title="FastAPI, async, orjson",
        environment="fastapi_orjson",
        forms={"json": FIELDS},
        prepare=_peer("fastapi_orjson", _uvicorn),
    ),
    Server(
        name="fastapi-pydantic",
        title="FastAPI, def, pydantic",
        environment="fastapi_pydantic",
        forms={"json": FIELDS},
        prepare=_peer("fastapi_pydantic", _uvicorn),
    ),
    Server(name="mlserver", title="MLServer", environment="mlserver", forms={"json": V2_JSON}, prepare=_mlserver),
    Server(
        name="litserve",
        title="LitServe",
        environment="litserve",
        forms={"json": PREDICT},
        prepare=_peer("litserve", lambda home, port: ["python", "app.py", str(port)]),
    ),
    Server(
        name="bentoml",
        title="BentoML",
        environment="bentoml",
        forms={"json": ARRAY},
        prepare=_peer("bentoml", _bentoml, {"BENTOML_DO_NOT_TRACK": "True"}),
    ),
    Server(
        name="mlflow", title="MLflow models serve", environment="mlflow", forms={"json": INVOCATIONS}, prepare=_mlflow
    ),
)
