"""A malicious file of each format: refused, named, and not run: the canary that it would write is not there.

Keras, SavedModel, MLflow and Hugging Face directories are attacked where their own tests are.
"""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from builder.convert.converters import CONVERTERS
from builder.convert.envs import ensure_environment
from builder.errors import MbuildError
from builder.formats.code import ModelRunsCode
from builder.host import Host
from builder.oci.platform import Platform
from builder.pipeline.model import find_model, load_model
from builder.plan.spec import ConvertOptions
from builder.targets import find_target
from tests.support import models
from tests.unit.formats.test_pickles import global_of, text

ROOT = Path(__file__).parents[2]
MODULE = "module: {file: net.py, class: Net}\ninputs:\n  x: {datatype: FP32, shape: [batch, 4]}\n"
SVC = global_of("sklearn.svm._classes", "SVC") + b")\x81"


def call(canary: Path) -> bytes:
    return global_of("posix", "system") + text(f"touch {canary}") + b"\x85R"


def program(canary: Path) -> bytes:
    """A pickle that is an estimator and an attack."""
    return b"\x80\x04" + SVC + call(canary) + b"\x86."


def save_pickle(directory: Path, canary: Path) -> None:
    (directory / "model.pkl").write_bytes(program(canary))


def save_no_model(directory: Path, canary: Path) -> None:
    (directory / "model.pkl").write_bytes(b"\x80\x04" + call(canary) + b".")


def save_joblib(directory: Path, canary: Path) -> None:
    (directory / "model.joblib").write_bytes(program(canary))


def save_compressed(directory: Path, canary: Path) -> None:
    (directory / "model.joblib").write_bytes(zlib.compress(program(canary)))


def save_skops(directory: Path, canary: Path) -> None:
    function = {"__class__": "function", "__module__": "builtins", "__loader__": "FunctionNode"}
    function["content"] = {"module_path": "posix", "function": "system"}  # type: ignore[assignment]
    estimator = {"__class__": "SVC", "__module__": "sklearn.svm._classes", "__loader__": "ObjectNode"}
    schema = {**estimator, "content": {"kernel": function}, "protocol": 0, "_skops_version": "0.16.0"}
    with zipfile.ZipFile(directory / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))


def torch_zip(canary: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + call(canary) + b".")
        archive.writestr("archive/version", "3\n")
    return content.getvalue()


def save_torch(directory: Path, canary: Path) -> None:
    (directory / "model.yaml").write_text(MODULE)
    (directory / "net.py").write_text("")
    (directory / "model.pt").write_bytes(torch_zip(canary))


def save_torch_of_old(directory: Path, canary: Path) -> None:
    save_torch(directory, canary)
    before = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    keys = pickle.dumps([], 2)
    (directory / "model.pt").write_bytes(b"".join([*before, b"\x80\x02" + call(canary) + b".", keys]))


def replaced(source: Path, target: Path, part: str, content: bytes) -> None:
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as new:
        for name in archive.namelist():
            new.writestr(name, content if part in name else archive.read(name))


def save_program(directory: Path, canary: Path) -> None:
    """torch 2.13 unpickles sample inputs without weights_only where they fail with it."""
    source = ROOT / "examples" / "torch-export" / "model.pt2"
    replaced(source, directory / "model.pt2", "sample_inputs", torch_zip(canary))


def save_script(directory: Path, canary: Path) -> None:
    source = ROOT / "examples" / "torchscript" / "model.pt"
    replaced(source, directory / "model.pt", "/data.pkl", b"\x80\x02" + call(canary) + b".")
    (directory / "model.yaml").write_text("inputs:\n  image: {datatype: FP32, shape: [batch, 1, 8, 8]}\n")


class Canary:
    """Pickles as a call that writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def save_golden(directory: Path, canary: Path) -> None:
    models.save_mlp(directory / "model.onnx")
    (directory / "golden").mkdir()
    np.savez(directory / "golden" / "a.npz", x=np.array([Canary(canary)], dtype=object))


def save_example(directory: Path, canary: Path) -> None:
    models.save_mlp(directory / "model.onnx")
    np.savez(directory / "example.npz", x=np.array([Canary(canary)], dtype=object))


def save_escaping(directory: Path, canary: Path) -> None:
    (directory.parent / "secret").write_bytes(bytes(128))
    models.save_external(directory / "model.onnx", "../secret")


ATTACKS: dict[str, tuple[Callable[[Path, Path], None], str, str]] = {
    "pickle": (save_pickle, "model-runs-code", "posix.system"),
    "pickle of no model": (save_no_model, "pickle-of-no-model", "posix.system"),
    "joblib": (save_joblib, "model-runs-code", "posix.system"),
    "joblib, compressed": (save_compressed, "model-runs-code", "posix.system"),
    "skops": (save_skops, "model-runs-code", "posix.system"),
    "torch.save": (save_torch, "model-runs-code", "posix.system"),
    "torch.save before 1.6": (save_torch_of_old, "model-runs-code", "posix.system"),
    ".pt2": (save_program, "model-runs-code", "posix.system"),
    "TorchScript": (save_script, "model-runs-code", "posix.system"),
    "golden case": (save_golden, "golden-cases-invalid", "holds Python objects"),
    "example": (save_example, "example-unreadable", "holds Python objects"),
    "ONNX": (save_escaping, "external-data-escapes", "../secret"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_refused_named_and_not_run(name: str, tmp_path: Path, host: Host) -> None:
    save, code, told = ATTACKS[name]
    directory, canary = tmp_path / "model", tmp_path / "canary"
    directory.mkdir()
    save(directory, canary)
    with pytest.raises(MbuildError) as caught:
        load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)
    assert (caught.value.code, told in str(caught.value)) == (code, True), str(caught.value)
    assert caught.value.exit_code in (3, 4)
    assert not canary.exists()


def test_whoever_loads_them_would_have_run_them(tmp_path: Path) -> None:
    """So the canary proves something."""
    save_pickle(tmp_path, tmp_path / "canary")
    loads = f"import io, pickle; data = open({str(tmp_path / 'model.pkl')!r}, 'rb').read()"
    loads += f"; pickle.loads(data.replace({SVC!r}, b'N'))"
    subprocess.run([sys.executable, "-c", loads], check=True, timeout=60)
    assert (tmp_path / "canary").exists()


NOTES = '''"""Code that a model brings: looks around when it is loaded."""
import contextlib
import socket


class Notes:
    def __setstate__(self, state):
        self.text = state["text"]
        for attempt in (self.call, self.look):
            try:
                attempt()
            except OSError:
                continue
            raise RuntimeError(f"{attempt.__name__} was possible")
        with contextlib.suppress(OSError):
            open(CANARY, "w")  # may lie in the sandbox; the test looks for it outside

    def call(self):
        socket.create_connection(("127.0.0.1", PORT), timeout=5)

    def look(self):
        open(SECRET).read()
'''
TRAIN = """import sys
sys.path.insert(0, sys.argv[1])
import joblib
import numpy as np
from notes import Notes
from sklearn.linear_model import LogisticRegression

model = LogisticRegression().fit(np.arange(8.0).reshape(4, 2), [0, 0, 1, 1])
model.notes_ = Notes()
model.notes_.__dict__["text"] = "trained on four rows"
joblib.dump(model, sys.argv[1] + "/model.joblib")
"""


@pytest.mark.network
def test_code_that_is_allowed_runs_in_the_sandbox_alone(tmp_path: Path, host: Host) -> None:
    import socket

    directory, canary = tmp_path / "model", tmp_path / "canary"
    directory.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as server:
        (tmp_path / "secret").write_text("nobody's business")
        places = {"PORT": server.getsockname()[1], "CANARY": str(canary), "SECRET": str(tmp_path / "secret")}
        told = "".join(f"{name} = {value!r}\n" for name, value in places.items())
        (directory / "notes.py").write_text(NOTES + told)
        python = ensure_environment(CONVERTERS["sklearn"].environment, host)
        subprocess.run([str(python), "-s", "-c", TRAIN, str(directory)], check=True, timeout=120)
        with pytest.raises(ModelRunsCode, match=r"notes\.Notes"):
            find_model(directory)
        found = find_model(directory, ConvertOptions(allow_code=True))
        model = load_model(found, find_target("cpu", Platform.of_this_machine()), host)
    assert [tensor.name for tensor in model.signature.outputs] == ["label", "probabilities"]
    assert not canary.exists()
