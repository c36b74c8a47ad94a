"""The lines that `mbuild run` prints are answered, whatever a model takes and gives."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from builder.model.golden import GoldenCase
from builder.model.programs import Access
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.pipeline.running.asking import ModelPrograms, model_programs
from tests.contract.server.test_plain import colours, place_case, place_plain
from tests.support import plain_models
from tests.support.onnx_models import identity, place
from tests.support.protocol_models import place_models, place_what_triton_cannot_serve
from tests.support.servers import RunningServer, ask, running

pytestmark = pytest.mark.network

HALF = {"identity_FP16", "identity_BF16"}


@pytest.fixture(scope="module")
def server(server_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    models = place_what_triton_cannot_serve(place_models(tmp_path_factory.mktemp("programs")))
    pixels = np.zeros((1, 3, 100, 70), np.float32)
    place(
        models,
        "pixels",
        identity("FP32", ("n", 3, "h", 70)),
        cases=(GoldenCase(name="a", inputs={"x": pixels}, outputs={}),),
    )
    place_plain(models, "embed", plain_models.embedder(), plain_models.embedding_interface())
    texts = np.array([b'it\'s "warm" in $HOME', b"another"])
    place_case(models / "embed", GoldenCase(name="two", inputs={"text": texts}, outputs={}))
    place_plain(models, "colour", plain_models.brightness(), plain_models.colour_interface())
    place_case(models / "colour", GoldenCase(name="red", inputs={"image": np.array(colours((255, 0, 0)))}, outputs={}))
    with running(server_source, models) as server:
        yield server.ready()


def programs(server: RunningServer, *, described: bool) -> dict[str, ModelPrograms]:
    document = ask(server.address, "GET", "/openapi.json").json()
    access = Access(url=f"http://{server.address}")
    found = {}
    for tag in document["tags"]:
        metadata = ask(server.address, "GET", f"/v2/models/{tag['name']}").json()
        sides = [
            tuple(
                TensorSpec(
                    name=one["name"],
                    datatype=Datatype(one["datatype"]),
                    shape=tuple("n" if dim < 0 else dim for dim in one["shape"]),
                )
                for one in metadata[side]
            )
            for side in ("inputs", "outputs")
        ]
        signature = Signature(inputs=sides[0], outputs=sides[1])
        found[tag["name"]] = model_programs(tag["name"], signature, document if described else {}, access)
    return found


def test_each_curl_line_is_answered(server: RunningServer, tmp_path: Path) -> None:
    for name, one in programs(server, described=True).items():
        done = subprocess.run(["sh", "-c", one.curl], capture_output=True, timeout=60, cwd=tmp_path)
        content = (tmp_path / "answer.bin").read_bytes() if name in HALF else done.stdout
        said, _ = json.JSONDecoder().raw_decode(content.decode(errors="replace"))
        assert said.get("model_name") == name, (one.curl, said)
        assert len(one.curl) < 5000


def test_each_program_in_python_prints_each_output(server: RunningServer) -> None:
    for one in programs(server, described=True).values():
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(one.python, {})
        assert len(said.getvalue().splitlines()) >= len(one.signature.outputs), one.python
        assert "None" not in said.getvalue()


def test_zeros_are_answered_where_the_server_does_not_describe_itself(server: RunningServer, tmp_path: Path) -> None:
    for name, one in programs(server, described=False).items():
        if name in ("colour", "simple_string"):  # zeros are neither a picture nor numerals
            continue
        done = subprocess.run(["sh", "-c", one.curl], capture_output=True, timeout=60, cwd=tmp_path)
        content = (tmp_path / "answer.bin").read_bytes() if name in HALF else done.stdout
        assert json.JSONDecoder().raw_decode(content.decode(errors="replace"))[0].get("model_name") == name, one.curl


def test_people_see_what_people_send(server: RunningServer) -> None:
    found = programs(server, described=True)
    assert found["embed"].curl.endswith("""--data-raw 'it'"'"'s "warm" in $HOME'""")
    assert "| base64 -d | curl" in found["colour"].curl
    assert "image/png" in found["colour"].curl
    assert "head -c 84000 /dev/zero" in found["pixels"].curl, "the golden case's shape"
    assert "np.zeros((1, 3, 100, 70), np.float32)" in found["pixels"].python
