"""What every converter owes: the same model gives the same ONNX, wherever it lies and whatever Python hashes by.

Every example joins by being there, but for those that are ONNX, and those that LEFT_OUT says why.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

import builder.convert.worker
from builder.host import Host
from builder.oci.platform import Platform
from builder.pipeline.converted import onnx_of
from builder.pipeline.model import find_model
from builder.targets import find_target
from tests.support.hosts import fresh_host

pytestmark = pytest.mark.network

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ONNX = {"digits", "handler", "magika"}
LEFT_OUT = {
    *ONNX,
    *("minilm", "huggingface-image", "huggingface-text", "paddle"),  # their scenario tests convert twice themselves
    *("mlflow-pytorch", "mlflow-sklearn", "triton-repository"),  # the converters of what lies in them
    *("tensorflow-savedmodel", "tflite"),  # keras: the same worker_io and the same canonical form
}

NAMES = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name not in LEFT_OUT)


def converted(directory: Path, host: Host) -> Mapping[str, bytes]:
    found = find_model(directory)
    target = find_target("cpu", Platform.of_this_machine())
    made = onnx_of(found.source, found.detection, found.origin, target, host).source
    assert found.origin
    return {str(file.path): made.locate(file.path).read_bytes() for file in made.files}


@pytest.mark.parametrize("name", NAMES)
def test_the_same_model_gives_the_same_onnx(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    environ, made = builder.convert.worker._environ, []
    for seed in ("0", "271828"):
        monkeypatch.setattr(
            builder.convert.worker, "_environ", lambda *given, seed=seed: {**environ(*given), "PYTHONHASHSEED": seed}
        )
        fresh = fresh_host(tmp_path / f"cache-{seed}", host)
        directory = Path(shutil.copytree(EXAMPLES / name, tmp_path / f"place-{seed}" / name))
        made.append(converted(directory, fresh))
    assert made[0].keys() == made[1].keys()
    assert [path for path in made[0] if made[0][path] != made[1][path]] == []
