"""Models that people can call: the steps answer what the graph computes, a user's code runs in the sandbox only, and
what it imports is locked."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from builder.convert.plain_reference import PlainCaseNotAnswered, StepsNotUsable
from builder.host import Host
from builder.model.golden import GoldenCase, read_case, write_case
from builder.model.parity import ConversionDiffers, GoldenMismatch
from builder.oci.platform import Platform
from builder.pipeline.model import LoadedModel, find_model, load_model
from builder.pipeline.verify import answer_plain
from builder.targets import find_target
from builder.targets.steps import HandlerRequirementsConflict
from tests.scenarios.conftest import ROOT, Mbuild
from tests.support import plain_models
from tests.support.servers import ask
from tests.support.serving import served_layout

pytestmark = pytest.mark.network

PLAIN = {"Content-Type": "text/plain"}


def loaded(directory: Path, host: Host) -> LoadedModel:
    return load_model(find_model(directory), find_target("cpu", Platform.of_this_machine()), host)


def with_golden(directory: Path, case: GoldenCase) -> None:
    (directory / "golden").mkdir(exist_ok=True)
    (directory / "golden" / f"{case.name}.npz").write_bytes(write_case(case))


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "examples" / "handler", tmp_path / "flowers"))


def test_texts_are_answered_by_the_steps_around_the_graph(host: Host, tmp_path: Path) -> None:
    plain_models.write_plain(tmp_path, plain_models.tagger(), plain_models.tagging_interface())
    with_golden(tmp_path, GoldenCase(name="own", inputs={"text": np.array([b"The fox in Berlin"])}, outputs={}))
    (case,), _ = answer_plain(loaded(tmp_path, host), host)
    found = json.loads(case.outputs["entities"][0])
    assert [(one["text"], one["label"]) for one in found] == [("fox", "ANIMAL"), ("Berlin", "PLACE")]


def test_a_golden_case_that_is_wrong_is_found_on_the_whole_path(host: Host, tmp_path: Path) -> None:
    plain_models.write_plain(tmp_path, plain_models.embedder(), plain_models.embedding_interface())
    outputs = {"embedding": np.zeros((1, plain_models.DIM), np.float32)}
    with_golden(tmp_path, GoldenCase(name="wrong", inputs={"text": np.array([b"fox"])}, outputs=outputs))
    with pytest.raises(GoldenMismatch, match=r"golden/wrong.npz: output 'embedding'"):
        answer_plain(loaded(tmp_path, host), host)


def test_a_handler_is_never_run_by_mbuild_itself(host: Host, flowers: Path) -> None:
    """What fails at import fails in the worker, and not before."""
    (flowers / "handler.py").write_text((flowers / "handler.py").read_text() + "\nimport not_there\n")
    model = loaded(flowers, host)
    with pytest.raises(StepsNotUsable, match="No module named 'not_there'") as caught:
        answer_plain(model, host)
    assert "handler.requirements" in caught.value.advice


def test_a_handler_that_fails_says_where(host: Host, flowers: Path) -> None:
    code = (flowers / "handler.py").read_text()
    (flowers / "handler.py").write_text(code.replace("probabilities.argmax(axis=1)", "probabilities.argmax(axis=7)"))
    with pytest.raises(PlainCaseNotAnswered, match=r"(?s)postprocess of handler.py raised AxisError.*axis=7") as caught:
        answer_plain(loaded(flowers, host), host)
    assert caught.value.exit_code == 5


def test_requirements_that_do_not_go_with_the_image(mbuild: Mbuild, flowers: Path) -> None:
    manifest = (flowers / "model.yaml").read_text().replace("rapidfuzz>=3.9", "'numpy<2'")
    (flowers / "model.yaml").write_text(manifest)
    done = mbuild(flowers, "--no-test")
    assert done.returncode == HandlerRequirementsConflict.exit_code
    assert "handler-requirements-conflict" in done.stderr
    assert "numpy==2" in done.stderr


def test_the_lock_holds_what_a_handler_imports(mbuild: Mbuild, flowers: Path) -> None:
    first = mbuild.json(flowers, "--no-load")
    assert {(case["model"], case["case"]) for case in first["test"]["cases"]} == {
        ("iris", "flowers"),
        ("iris-tensors", "tensors"),
    }
    (target,) = json.loads((flowers / "mbuild.lock").read_text())["targets"].values()
    assert "rapidfuzz>=3.9" in target["requirements"]
    assert [wheel["name"] for wheel in target["wheels"]] == ["numpy", "onnxruntime", "orjson", "rapidfuzz"]
    again = mbuild.json(flowers, "--locked", "--no-test", "--no-load")
    assert again["image"]["digest"] == first["image"]["digest"]
    assert all(step["cached"] for step in again["steps"] if step["name"] != "test"), again["steps"]
    text = (flowers / "model.yaml").read_text()
    (flowers / "model.yaml").write_text(text.replace("rapidfuzz>=3.9", "rapidfuzz>=3.10"))
    drifted = mbuild(flowers, "--locked", "--no-test")
    assert drifted.returncode == 7
    assert "rapidfuzz>=3.9" in drifted.stderr


def test_the_real_minilm_takes_text_over_http(mbuild: Mbuild, host: Host, tmp_path: Path) -> None:
    """The golden case holds what sentence-transformers itself makes of the texts (examples/minilm/make_golden.py)."""
    directory = Path(shutil.copytree(ROOT / "examples" / "minilm", tmp_path / "minilm"))
    subprocess.run([sys.executable, directory / "fetch.py"], check=True, timeout=300)
    mbuild.json(directory, "--no-test", "--no-load", "-o", tmp_path / "layout")
    case = read_case(directory / "golden" / "sentences.npz")
    texts, wanted = [text.decode() for text in case.inputs["text"]], case.outputs["embedding"]
    require_the_gate(loaded(directory, host), host)
    with served_layout(tmp_path / "layout", host) as address:
        alone = [ask(address, "POST", "/v2/models/minilm/infer", text.encode(), PLAIN) for text in texts if text]
        entry = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
        together = ask(address, "POST", "/v2/models/minilm/infer", {"inputs": [entry]}).json()["outputs"][0]
        client = triton.InferenceServerClient(address)
        tensor = triton.InferInput("text", [len(texts)], "BYTES")
        tensor.set_data_from_numpy(np.array([text.encode() for text in texts], object))
        in_binary = client.infer("minilm", [tensor]).as_numpy("embedding")
        client.close()
    assert together["shape"] == [len(texts), 384]
    assert cosines(np.reshape(together["data"], (-1, 384)), wanted).min() > 0.9999
    assert cosines(in_binary, wanted).min() > 0.9999
    found = np.array([each.json()["outputs"][0]["data"] for each in alone])
    assert cosines(found, wanted[[number for number, text in enumerate(texts) if text]]).min() > 0.9999


def require_the_gate(model: LoadedModel, host: Host) -> None:
    """A step that does otherwise than the model's own tokenizer is stopped, though the graph is right."""
    assert model.plain is not None
    before = {**model.plain.interface.before, "max_length": 250}
    plain = replace(model.plain, interface=replace(model.plain.interface, before=before))
    with pytest.raises(ConversionDiffers, match="case sentences, output 'embedding'"):
        answer_plain(replace(model, plain=plain), host)


def cosines(one: Any, other: Any) -> Any:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return (one * other).sum(axis=1) / lengths
