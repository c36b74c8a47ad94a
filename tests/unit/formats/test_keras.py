from __future__ import annotations

import base64
import io
import json
import marshal
import shutil
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from builder.formats import detect
from builder.formats.code import ModelRunsCode, require_harmless
from builder.formats.hdf5 import UnreadableHdf5, root_attributes
from builder.formats.keras import KerasCustomObjects, KerasUnreadable, KerasWeightsAlone, code_in_config
from builder.model.manifest import read_manifest
from builder.model.source import Detection, ModelSource, list_model

KNOWN = Path(__file__).parents[2] / "support" / "known"
CODE = base64.encodebytes(marshal.dumps(compile("__import__('os').system('touch canary')", "a.py", "eval"))).decode()


def layer(kind: str, config: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": config, "registered_name": None, **more}


def keras_file(
    directory: Path, *layers: dict[str, Any], version: str = "3.15.1", **more: Any
) -> tuple[ModelSource, Any]:
    model = {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": list(layers)}, **more}
    with zipfile.ZipFile(directory / "net.keras", "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(model))
        archive.writestr("model.weights.h5", b"")
    return found(directory)


def found(directory: Path) -> tuple[ModelSource, Detection]:
    source = list_model(directory)
    return source, detect(source, read_manifest(source))


@pytest.mark.parametrize(("name", "version"), [("network.keras", "3.15.1"), ("network.h5", "3.15.1")])
def test_files_of_keras_say_their_version(tmp_path: Path, name: str, version: str) -> None:
    shutil.copyfile(KNOWN / name, tmp_path / name)
    source, model = found(tmp_path)
    assert (model.format, model.entry, model.versions) == ("keras", PurePosixPath(name), (("keras", version),))
    assert code_in_config(source, model) == ()
    require_harmless(source, model)


def test_the_root_attributes_of_a_real_file() -> None:
    with (KNOWN / "network.h5").open("rb") as file:
        attributes = root_attributes(file)
    assert (attributes["keras_version"], attributes["backend"]) == ("3.15.1", "torch")
    assert json.loads(attributes["model_config"])["class_name"] == "Sequential"


def test_a_file_of_hdf5_that_is_cut_or_bent_is_refused_and_nothing_else() -> None:
    content = (KNOWN / "network.h5").read_bytes()
    for end in (9, 40, 64, 100, 700):
        with pytest.raises(UnreadableHdf5):
            root_attributes(io.BytesIO(content[:end]))
    for place in range(8, 1200, 3):
        bent = bytearray(content)
        bent[place] ^= 0xFF
        try:
            root_attributes(io.BytesIO(bytes(bent)))
        except UnreadableHdf5:
            continue


LAMBDAS = [
    layer("Lambda", {"name": "innocent", "function": {"class_name": "__lambda__", "config": {"code": CODE}}}),
    layer("Lambda", {"name": "innocent", "function": {"class_name": "__lambda__", "config": {"value": [CODE, None]}}}),
    layer("Lambda", {"name": "innocent", "function": [CODE, None, None], "function_type": "lambda"}),
    layer("Dense", {"name": "innocent", "activation": {"class_name": "__lambda__", "config": {"code": CODE}}}),
    layer("TimeDistributed", {"name": "outer", "layer": layer("Lambda", {"name": "innocent", "function": [CODE]})}),
]


@pytest.mark.parametrize("part", LAMBDAS)
def test_marshalled_code_is_named_with_what_it_names(tmp_path: Path, part: dict[str, Any]) -> None:
    source, model = keras_file(tmp_path, layer("Dense", {"name": "first"}), part)
    with pytest.raises(ModelRunsCode, match=r"innocent.*os, touch canary.*system") as caught:
        require_harmless(source, model)
    assert caught.value.exit_code == 4
    assert "--allow-code" in caught.value.advice


def test_a_lambda_in_an_h5_file(tmp_path: Path) -> None:
    content = (KNOWN / "network.h5").read_bytes()
    assert b'"class_name": "Dense"' in content
    (tmp_path / "net.h5").write_bytes(content.replace(b'"class_name": "Dense"', b'"class_name":"Lambda"'))
    source, model = found(tmp_path)
    with pytest.raises(ModelRunsCode, match=r"net\.h5 .* the Lambda layer 'dense"):
        require_harmless(source, model)


@pytest.mark.parametrize("kind", ["TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"])
def test_layers_that_bring_code_of_their_own(tmp_path: Path, kind: str) -> None:
    source, model = keras_file(tmp_path, layer(kind, {"name": "inner", "filepath": "other"}))
    assert code_in_config(source, model)[0].startswith(f"the {kind} layer 'inner'")


@pytest.mark.parametrize("symbol", ["io.write_file", "py_function", "raw_ops.WriteFile", "load_op_library", "train.x"])
def test_calls_of_tensorflow_that_reach_out(tmp_path: Path, symbol: str) -> None:
    """Keras 2 keeps calls by the name of the function."""
    source, model = keras_file(tmp_path, layer("TFOpLambda", {"name": "call", "function": symbol}), version="2.15.0")
    assert code_in_config(source, model) == (f"the layer 'call' (tf.{symbol})",)


@pytest.mark.parametrize("symbol", ["math.add", "compat.v1.gather", "image.resize", "__operators__.add"])
def test_calls_of_tensorflow_that_compute(tmp_path: Path, symbol: str) -> None:
    source, model = keras_file(tmp_path, layer("TFOpLambda", {"name": "call", "function": symbol}), version="2.15.0")
    assert code_in_config(source, model) == ()


CUSTOM = [
    (layer("Scale", {"name": "a"}, module=None, registered_name="shop>Scale"), "shop>Scale"),
    (layer("Scale", {"name": "a"}, module="shop.layers", registered_name="Scale"), "shop.layers.Scale"),
    ({"class_name": "shop>Scale", "config": {"name": "a"}}, "shop>Scale"),
    (
        layer("Dense", {"activation": {"class_name": "function", "config": "shop>act", "module": "builtins"}}),
        "shop>act",
    ),
]


@pytest.mark.parametrize(("part", "name"), CUSTOM)
def test_code_that_is_elsewhere(tmp_path: Path, part: dict[str, Any], name: str) -> None:
    source, model = keras_file(tmp_path, part)
    with pytest.raises(KerasCustomObjects, match=name) as caught:
        require_harmless(source, model)
    assert "model.export" in caught.value.advice


def test_what_it_was_compiled_with_does_not_matter(tmp_path: Path) -> None:
    loss = {"loss": {"class_name": "__lambda__", "config": {"code": CODE}}}
    source, model = keras_file(tmp_path, layer("Dense", {"name": "d"}), compile_config=loss)
    assert code_in_config(source, model) == ()


def test_weights_alone(tmp_path: Path) -> None:
    content = (KNOWN / "network.h5").read_bytes()
    (tmp_path / "model.weights.h5").write_bytes(content.replace(b"model_config", b"other_config"))
    with pytest.raises(KerasWeightsAlone, match="without model_config"):
        found(tmp_path)
    shutil.copyfile(KNOWN / "network.keras", tmp_path / "network.keras")
    assert found(tmp_path)[1].entry == PurePosixPath("network.keras")


def test_a_config_that_is_no_json(tmp_path: Path) -> None:
    source, model = keras_file(tmp_path)
    with zipfile.ZipFile(tmp_path / "net.keras", "w") as archive:
        for name in ("metadata.json", "config.json", "model.weights.h5"):
            archive.writestr(name, "[1, 2")
    assert found(tmp_path)[1] == Detection(format="keras", entry=model.entry, evidence=model.evidence)
    with pytest.raises(KerasUnreadable):
        require_harmless(source, model)
