"""One minimal server for what is its own; what Triton answers alike is asked in protocol/."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from tests.support.onnx_models import DATATYPES, identity, mlp, place, slow, two_inputs
from tests.support.servers import copied_source, running

MAX_BODY = 200_000


@pytest.fixture(scope="session")
def server_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied_source(tmp_path_factory.mktemp("server-source"))


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    case = GoldenCase(name="one", inputs={"features": np.array([[1, 2, 3, 4]], np.float32)}, outputs={})
    manifest = {
        "version": "7.1",
        "description": "Four numbers to three probabilities.",
        "signature": {
            "inputs": [{"name": "features", "datatype": "FP32", "shape": ["batch", 4]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": ["batch", 3]}],
        },
        "renames": {"inputs": {"features": "x"}, "outputs": {"probabilities": "p"}},
        "settings": {},
    }
    place(models, "mlp", mlp(), manifest=manifest, cases=(case,))
    place(models, "two", two_inputs())
    place(models, "slow", slow())
    place(models, "line", identity("FP32", ("n",)))
    place(models, "one_string", identity("BYTES", (1,)))
    place(models, "scalar", identity("INT64", ()))
    for datatype in DATATYPES:
        place(models, f"identity_{datatype}", identity(datatype))
    return models


@pytest.fixture(scope="session")
def address(server_source: Path, model_folder: Path) -> Iterator[str]:
    limits = {"MBUILD_MAX_BODY": str(MAX_BODY), "MBUILD_HEAD_TIMEOUT": "2", "MBUILD_BODY_TIMEOUT": "2"}
    with running(server_source, model_folder, **limits) as server:
        yield server.ready().address
        server.send_signal()
        assert server.exit_code() == 0
        assert not server.stray, "the log must be JSON lines only"
        assert not [event for event in server.events if event["level"] == "error"]
