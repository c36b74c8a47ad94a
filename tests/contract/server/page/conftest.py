"""A real headless Chromium, and a server with a model of each kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from tests.contract.server.test_plain import colours, place_case, place_plain
from tests.support import plain_models
from tests.support.browsers import Browser, chromium
from tests.support.onnx_models import identity, named_columns, place, two_inputs
from tests.support.pages import MEASURES
from tests.support.servers import running

PARITY = {
    "schema": 1,
    "passed": True,
    "source": "scikit-learn",
    "versions": {"scikit-learn": "1.9.1"},
    "tolerance": {"absolute": 1e-5, "relative": 1e-4, "outputs": {}},
    "cases": [{"name": "one", "given": True, "outputs": ["probabilities"]}],
}


@pytest.fixture(scope="package")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="package")
def chrome(downloads: Path) -> Iterator[Browser]:
    with chromium(downloads) as browser:
        yield browser


@pytest.fixture
def browser(chrome: Browser) -> Iterator[Browser]:
    """The browser; it must have had nothing to complain of."""
    yield chrome
    assert chrome.problems() == []


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("page-models")
    text = GoldenCase(name="one", inputs={"text": np.array([b"the quick fox"])}, outputs={})
    for name, graph, interface in (
        ("embed", plain_models.embedder(), plain_models.embedding_interface()),
        ("tag", plain_models.tagger(), plain_models.tagging_interface()),
    ):
        place_plain(models, name, graph, interface)
        place_case(models / name, text)
    place_plain(models, "colour", plain_models.brightness(), plain_models.colour_interface())
    red = np.array([colours((255, 0, 0))[0]])
    place_case(models / "colour", GoldenCase(name="red", inputs={"image": red}, outputs={}))
    case = {name: np.array([[number]], np.float32) for name, number in zip(MEASURES, (5, 3.5, 1.25, 0.5), strict=True)}
    manifest = {"version": "2.1.0", "description": "Names an iris from four measures.", "licence": "BSD-3-Clause"}
    folder = place(models, "iris", named_columns(*MEASURES), manifest=manifest)
    place_case(folder, GoldenCase(name="one", inputs=case, outputs={}))
    (folder / "parity.json").write_text(json.dumps(PARITY))
    place(models, "two", two_inputs())
    place(models, "matrix", identity("INT64"))
    place(models, "half", identity("FP16"))
    place(models, "pixels", identity("FP32", ("batch", 3, 224, 224)))
    place(models, "brain", identity("BF16"))
    return models


@pytest.fixture(scope="package")
def url(server_source: Path, models: Path) -> Iterator[str]:
    with running(server_source, models) as server:
        yield f"http://{server.ready().address}/"
        server.send_signal()
        assert server.exit_code() == 0
