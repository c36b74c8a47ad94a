"""Large weights are laid out in chunk files that hold the same bytes, wherever they lay before."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from builder.formats import onnx as onnx_format
from builder.formats import onnx_weights
from builder.formats.onnx import BrokenOnnx, OnnxLimits, read_model, stage_artifact
from builder.formats.onnx_wire import read_skeleton
from builder.model.source import ModelArtifact, list_model
from builder.oci.content import open_content
from builder.plan import chunks


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 20_000)
    for module in (onnx_format, onnx_weights):
        monkeypatch.setattr(module, "CHUNK_FROM", 30_000)


def save(directory: Path, *, external: str = "", tied: bool = False) -> dict[str, np.ndarray]:
    """A sum of six tables and a small one; ``external`` is the file that holds them, or each its own."""
    random = np.random.default_rng(0)
    weights = {f"layer.{n}.weight": random.random((50, 50), dtype=np.float32) for n in range(6)}
    if tied:
        weights["layer.5.weight"] = weights["layer.0.weight"]
    weights["scale"] = random.random((50,), dtype=np.float32)
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    nodes = [helper.make_node("Sum", ["x", *weights], ["y"])]
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 50)) for name in "xy"]
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    directory.mkdir()
    if external:
        path = directory / "model.onnx"
        onnx.save_model(model, path, save_as_external_data=True, location=external, size_threshold=0)
        if tied:
            _tie(path)
    else:
        (directory / "model.onnx").write_bytes(model.SerializeToString())
    return weights


def _tie(path: Path) -> None:
    """Let two tensors be the same bytes of the file."""
    model = onnx.load(path, load_external_data=False)
    first, last = model.graph.initializer[0], model.graph.initializer[5]
    del last.external_data[:]
    last.external_data.extend(first.external_data)
    path.write_bytes(model.SerializeToString())


def stage(directory: Path) -> ModelArtifact:
    source = list_model(directory)
    return stage_artifact(source, read_model(source, PurePosixPath("model.onnx"), OnnxLimits()))


def lay_out(artifact: ModelArtifact, directory: Path) -> Path:
    for file in artifact.packed:
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(file.content, bytes):
            path.write_bytes(file.content)
        else:
            with open_content(file.content) as content:
                path.write_bytes(content.read())
    return directory / "model.onnx"


@pytest.mark.parametrize("external", ["", "model.onnx.data"])
@pytest.mark.parametrize("tied", [False, True])
def test_the_chunks_hold_the_weights(tmp_path: Path, external: str, tied: bool) -> None:
    weights = save(tmp_path / "model", external=external, tied=tied)
    artifact = stage(tmp_path / "model")

    path = lay_out(artifact, tmp_path / "out")

    onnx.checker.check_model(str(path), full_check=True)
    packed = onnx.load(path)
    assert {tensor.name for tensor in packed.graph.initializer} == set(weights)
    for tensor in packed.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), weights[tensor.name])
    assert len(artifact.packed) > 2
    if tied and external:
        assert sum(chunk.stat().st_size for chunk in (tmp_path / "out" / "weights").iterdir()) < 6 * 10_000


def test_where_the_weights_lay_does_not_matter(tmp_path: Path) -> None:
    save(tmp_path / "inside")
    save(tmp_path / "beside", external="model.onnx.data")
    inside, beside = stage(tmp_path / "inside"), stage(tmp_path / "beside")
    assert [file.path for file in inside.packed[1:]] == [file.path for file in beside.packed[1:]]
    lay_out(inside, tmp_path / "one")
    lay_out(beside, tmp_path / "two")
    for file in inside.packed[1:]:
        assert (tmp_path / "one" / file.path).read_bytes() == (tmp_path / "two" / file.path).read_bytes()


def test_a_small_model_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (onnx_format, onnx_weights):
        monkeypatch.setattr(module, "CHUNK_FROM", 1 << 20)
    save(tmp_path / "model", external="model.onnx.data")
    assert not stage(tmp_path / "model").laid_out


def test_large_weights_are_computed_with_where_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But where onnxruntime quantises the inputs of a node that it has put the weights in order for: it would answer
    otherwise than the server does."""
    save(tmp_path / "model", external="model.onnx.data")
    assert stage(tmp_path / "model").reads_in_place
    path = tmp_path / "model" / "model.onnx"
    for operator, domain in (("DequantizeLinear", ""), ("MatMulNBits", "com.microsoft")):
        model = onnx.load(path, load_external_data=False)
        model.graph.node.add(op_type=operator, domain=domain)
        (tmp_path / operator).mkdir()
        (tmp_path / operator / "model.onnx.data").hardlink_to(path.parent / "model.onnx.data")
        (tmp_path / operator / "model.onnx").write_bytes(model.SerializeToString())
        assert not stage(tmp_path / operator).reads_in_place
        assert stage(tmp_path / operator).laid_out
    for module in (onnx_format, onnx_weights):
        monkeypatch.setattr(module, "CHUNK_FROM", 1 << 20)
    assert not stage(tmp_path / "model").reads_in_place


def test_a_tensor_inside_a_node_keeps_its_file(tmp_path: Path) -> None:
    save(tmp_path / "model", external="model.onnx.data")
    path = tmp_path / "model" / "model.onnx"
    model = onnx.load(path, load_external_data=False)
    constant = model.graph.initializer.pop()
    model.graph.node.insert(0, helper.make_node("Constant", [], [constant.name], value=constant))
    path.write_bytes(model.SerializeToString())
    assert not stage(tmp_path / "model").laid_out


def test_a_skeleton_is_the_model_without_its_weights(tmp_path: Path) -> None:
    weights = save(tmp_path / "model")
    path = tmp_path / "model" / "model.onnx"
    skeleton = read_skeleton(path)
    model = onnx.ModelProto.FromString(skeleton.model)
    assert len(skeleton.model) < 3000
    content = path.read_bytes()
    for position, (offset, length) in skeleton.raw.items():
        tensor = model.graph.initializer[position]
        assert not tensor.raw_data
        tensor.raw_data = content[offset : offset + length]
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), weights[tensor.name])
    assert model == onnx.load(path)


@pytest.mark.parametrize("cut", [1, 10, 100, 9_000, 40_000, 59_999])
def test_a_model_that_was_cut_off_is_refused(tmp_path: Path, cut: int) -> None:
    save(tmp_path / "model")
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(BrokenOnnx):
        stage(tmp_path / "model")
