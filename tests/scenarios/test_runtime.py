"""The real runtime: its wheels from their index, staged, compiled, inferring under the image's Python."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import onnx
import pytest

from builder.host import Host
from builder.host.run import Command
from builder.host.trees import StagedTree, materialise, merged
from builder.oci.platform import Platform
from builder.pipeline.base import own_base
from builder.plan.prune import PruneRules
from builder.plan.wheel import LockedWheel
from builder.targets import TARGETS
from builder.targets.bytecode import BytecodeFailed, compile_bytecode, python_sources
from builder.targets.wheel_stage import runtime_rules, stage_wheels
from builder.targets.wheels import fetch_wheels, resolve_wheels
from tests.support import onnx_models

pytestmark = [pytest.mark.network, pytest.mark.skipif(sys.platform != "linux", reason="runs the image's own Python")]

SITE = PurePosixPath("/opt/site")
HERE = Platform.of_this_machine()
BOTH = (Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))

INFER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import numpy, onnxruntime, orjson
from importlib.metadata import files, version
session = onnxruntime.InferenceSession(sys.argv[2], providers=["CPUExecutionProvider"])
outputs = session.run(None, {"x": numpy.zeros((2, 4), numpy.float32)})
loaded = [(name, getattr(module, "__cached__", None)) for name, module in sys.modules.items()]
compiled = {name: cached for name, cached in loaded if cached}
assert len(compiled) > 100
print(json.dumps({
    "sums": outputs[0].sum(axis=1).tolist(),
    "record": all(file.locate().is_file() for name in ("numpy", "onnxruntime", "orjson") for file in files(name)),
    "versions": [version("numpy"), version("onnxruntime"), version("orjson")],
    "uncompiled": [name for name, cached in compiled.items() if not os.path.exists(cached)],
    "used": numpy.random.default_rng(1).random() < 1 and float(numpy.fft.fft(numpy.ones(3))[0].real) == 3,
}))
"""


def runtime(platform: Platform, host: Host, rules: PruneRules) -> StagedTree:
    wheels = locked(platform, host)
    fetch_wheels(wheels, "3.13", host)
    return stage_wheels(wheels, SITE, rules, host)


def locked(platform: Platform, host: Host) -> tuple[LockedWheel, ...]:
    return resolve_wheels(TARGETS["cpu"].pins("3.13.5"), "3.13.5", platform, (2, 41), host)


@pytest.fixture(scope="module")
def interpreter(host: Host) -> StagedTree:
    base = own_base("cpu", HERE, {})
    assert base.own is not None
    return base.own.stage(HERE, host)


@pytest.mark.parametrize("platform", BOTH, ids=str)
def test_a_platform_has_exactly_its_wheels(host: Host, platform: Platform) -> None:
    machine = {"amd64": "x86_64", "arm64": "aarch64"}[platform.architecture]
    wheels = locked(platform, host)
    assert [wheel.name for wheel in wheels] == ["numpy", "onnxruntime", "orjson"]
    assert all("cp313-cp313-manylinux" in wheel.filename and machine in wheel.filename for wheel in wheels)
    assert "http" not in json.dumps([wheel.to_json() for wheel in wheels])


@pytest.mark.parametrize("platform", BOTH, ids=str)
def test_the_tree_is_small_and_every_rule_earns_its_place(host: Host, platform: Platform) -> None:
    rules = runtime_rules()
    whole = runtime(platform, host, PruneRules(prune={}, keep={}))
    pruned = runtime(platform, host, rules)
    assert pruned.size < 74e6 < 105e6 < whole.size
    paths = [entry.path.relative_to(SITE) for entry in whole.entries if entry.digest]
    assert {rules.pruned_by(path) for path in paths} - {None} == set(rules.prune)


def test_inference_under_the_images_python_reads_only_bytecode(
    host: Host, interpreter: StagedTree, tmp_path: Path
) -> None:
    tree = runtime(HERE, host, runtime_rules())
    compiled = [compile_bytecode(interpreter, part, "3.13.5", host) for part in (interpreter, tree)]
    root = tmp_path / "root"
    materialise(merged([interpreter, tree, *compiled]), root)
    onnx.save(onnx_models.mlp(), tmp_path / "model.onnx")
    (tmp_path / "infer.py").write_text(INFER)
    loader = next(root.glob("usr/lib/*/ld-linux*"))
    argv = (str(loader), "--library-path", str(loader.parent), str(root / "usr/bin/python3.13"), "-S", "-P", "-B")
    argv += (str(tmp_path / "infer.py"), f"{root}{SITE}", str(tmp_path / "model.onnx"))
    done = host.run.run(Command(argv=argv, env={"ORT_DISABLE_TELEMETRY": "1"}, cwd=tmp_path, timeout=120))
    assert done.ok, done.complaint
    answer = json.loads(done.stdout)
    assert answer == {
        "sums": pytest.approx([1, 1]),
        "record": True,
        "versions": [pin.partition("==")[2] for pin in TARGETS["cpu"].pins("3.13")],
        "uncompiled": [],
        "used": True,
    }
    assert done.stderr == b""


def bytes_of(tree: StagedTree) -> dict[str, str]:
    return {str(entry.path): str(entry.digest) for entry in tree.entries if entry.digest}


def test_bytecode_has_the_same_bytes_everywhere(
    host: Host, interpreter: StagedTree, make_host: Callable[..., Host], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tree = runtime(HERE, host, runtime_rules())
    first = bytes_of(compile_bytecode(interpreter, tree, "3.13.5", host))
    assert len(first) == len(python_sources(tree, "3.13.5")) > 100
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("PYTHONHASHSEED", "77")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("LC_ALL", "C")
    before = os.umask(0o077)
    try:
        again = bytes_of(compile_bytecode(interpreter, tree, "3.13.5", make_host()))
    finally:
        os.umask(before)
    assert again == first


def test_bytecode_does_not_depend_on_what_is_compiled_beside_it(
    interpreter: StagedTree, host: Host, make_host: Callable[..., Host]
) -> None:
    tree = runtime(HERE, host, runtime_rules())
    together = bytes_of(compile_bytecode(interpreter, merged([interpreter, tree]), "3.13.5", host))
    half = StagedTree(entries=tree.entries[::2], files=tree.files)
    assert bytes_of(compile_bytecode(interpreter, half, "3.13.5", make_host())).items() <= together.items()
    assert bytes_of(compile_bytecode(interpreter, tree, "3.13.5", host)).items() <= together.items()


def test_another_python_than_the_images_is_refused(interpreter: StagedTree, host: Host) -> None:
    with pytest.raises(BytecodeFailed, match=r"it is Python 3\.13\."):
        compile_bytecode(interpreter, interpreter, "3.13.1", host)


def test_the_tree_does_not_depend_on_the_umask(host: Host, make_host: Callable[..., Host]) -> None:
    tree = runtime(HERE, host, runtime_rules())
    before = os.umask(0o077)
    try:
        again = runtime(HERE, make_host(), runtime_rules())
    finally:
        os.umask(before)
    assert again.entries == tree.entries
