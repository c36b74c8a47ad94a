"""The three models of the bench, each built by mbuild into an image; every server gets the graph that lies in there."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from builder.oci.layout import Layout
from builder.oci.unpack import unpack_layers
from tests.bench.rows import COMMAND, ROOT
from tests.support.onnx_models import mlp, model_of

Arrays = dict[str, Any]
NAMES = ("mlp", "cnn", "minilm")
_SIDE = 64
_TOKENS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """An image that mbuild built, unpacked: its root, how it starts, and the layout that it came from."""

    server: str
    layout: Path
    root: Path
    argv: tuple[str, ...]
    env: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """``graph`` is the file that every server loads; ``expected`` is what onnxruntime itself answers to ``inputs``."""

    name: str
    directory: Path
    image: Image
    graph: Path
    inputs: Arrays
    expected: Arrays


def cnn() -> onnx.ModelProto:
    """A picture of 64x64 to ten scores: four convolutions."""
    rng = np.random.Generator(np.random.PCG64(4))
    channels = (3, 48, 96, 128, 128)
    nodes, weights, last = [], {}, "image"
    for number, (taken, given) in enumerate(itertools.pairwise(channels)):
        weights[f"w{number}"] = rng.standard_normal((given, taken, 3, 3), np.float32) / np.float32((9 * taken) ** 0.5)
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], pads=[1, 1, 1, 1]))
        nodes.append(helper.make_node("Relu", [f"c{number}"], [f"r{number}"]))
        nodes.append(
            helper.make_node("MaxPool", [f"r{number}"], [f"m{number}"], kernel_shape=[2, 2], strides=[2, 2])
            if number
            else helper.make_node("Identity", [f"r{number}"], [f"m{number}"])
        )
        last = f"m{number}"
    weights["head"] = rng.standard_normal((channels[-1], 10), np.float32)
    nodes.append(helper.make_node("ReduceMean", [last], ["mean"], axes=[2, 3], keepdims=0))
    nodes.append(helper.make_node("MatMul", ["mean", "head"], ["logits"]))
    taken_shape = {"image": (TensorProto.FLOAT, ("n", 3, _SIDE, _SIDE))}
    return model_of(nodes, taken_shape, {"logits": (TensorProto.FLOAT, ("n", 10))}, weights)


def request_of(name: str) -> Arrays:
    """The one request that is sent over and over."""
    rng = np.random.Generator(np.random.PCG64(8))
    if name == "mlp":
        return {"x": np.array([[5.1, 3.5, 1.4, 0.2]], np.float32)}
    if name == "cnn":
        return {"image": rng.random((1, 3, _SIDE, _SIDE), np.float32)}
    ids = rng.integers(1000, 30000, (1, _TOKENS), np.int64)
    ids[0, 0], ids[0, -1] = 101, 102
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}


def _make_model(name: str, directory: Path) -> Path:
    """A model directory for mbuild."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    if name == "minilm":
        _convert_minilm(directory.with_name("minilm-source"), directory)
    else:
        onnx.save({"mlp": mlp, "cnn": cnn}[name](), directory / "model.onnx")
    (directory / "model.yaml").write_text(f"name: {name}\n")
    return directory


def _convert_minilm(scratch: Path, directory: Path) -> None:
    """all-MiniLM-L6-v2 as mbuild converts it; only the sentence's embedding is left of its outputs."""
    source = ROOT / "examples" / "minilm"
    subprocess.run([sys.executable, source / "fetch.py"], check=True, stdout=subprocess.DEVNULL)
    home = built(source, scratch).root / "models" / "minilm-tensors" / "1"
    shutil.copytree(home, directory, dirs_exist_ok=True)
    graph = onnx.load(home / "model.onnx", load_external_data=False)
    del graph.graph.output[0]
    assert [output.name for output in graph.graph.output] == ["sentence_embedding"]
    (directory / "model.onnx").write_bytes(graph.SerializeToString())
    shutil.rmtree(scratch)


def built(directory: Path, place: Path, server: str = "http") -> Image:
    """The image of a model directory, unpacked below ``place``; what is there of the same image stays."""
    layout = place / "layout"
    command = [COMMAND, directory, "--no-test", "--no-load", "--server", server, "-o", layout, "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    images = Layout(layout)
    found = images.find()
    manifest = images.manifest(found)
    root = place / f"root-{found.digest.hex[:12]}"
    if not root.exists():
        for old in place.glob("root-*"):
            shutil.rmtree(old)
        part = place / "part"
        shutil.rmtree(part, ignore_errors=True)
        unpack_layers(images, manifest.layers, part)
        part.rename(root)
    settings = images.config(manifest).settings
    return Image(
        server=server,
        layout=layout,
        root=root,
        argv=(*settings.get("Entrypoint", ()), *settings.get("Cmd", ())),
        env=dict(each.split("=", 1) for each in settings["Env"]),
    )


def prepared(name: str, place: Path) -> Model:
    """The model, built. Its expected answer is that of the onnxruntime in its image, without a server."""
    directory = place / name
    if not (directory / "model.yaml").exists():
        part = _make_model(name, place / "part")
        directory.parent.mkdir(exist_ok=True)
        part.rename(directory)
    image = built(directory, place / f"{name}-http")
    graph = image.root / "models" / name / "1" / "model.onnx"
    inputs = request_of(name)
    said = session_loop(image, name, inputs, threads=1, seconds=0.0)
    expected = {key: np.array(value, np.float32) for key, value in said["outputs"].items()}
    return Model(name=name, directory=directory, image=image, graph=graph, inputs=inputs, expected=expected)


def jailed(image: Image, argv: Sequence[str], env: Mapping[str, str], shown: Path | None = None) -> list[str]:
    """A command line that runs ``argv`` in the image's files, with its variables and ``env``, without an engine between
    and with this machine's network; ``shown`` is at /tmp/bench."""
    words = [
        "bwrap",
        "--die-with-parent",
        "--ro-bind",
        str(image.root.absolute()),
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    words += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/", "--clearenv"]
    for name, value in {**image.env, **env}.items():
        words += ["--setenv", name, value]
    if shown:
        words += ["--ro-bind", str(shown), "/tmp/bench"]
    return [*words, "--", *argv]


def session_loop(image: Image, name: str, inputs: Arrays, *, threads: int, seconds: float) -> dict[str, Any]:
    """``session.run`` over and over by the image's own Python: the physical limit. See ``session_loop.py``."""
    with tempfile.TemporaryDirectory(prefix="mbuild-bench-") as shown:
        np.savez(Path(shown) / "inputs.npz", **inputs)
        shutil.copy(Path(__file__).with_name("session_loop.py"), shown)
        words = ["session_loop.py", f"/models/{name}/1/model.onnx", str(threads), str(seconds)]
        argv = [image.argv[0], *(f"/tmp/bench/{words[0]}", *words[1:])]
        done = subprocess.run(jailed(image, argv, {}, Path(shown)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))
