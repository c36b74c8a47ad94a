"""config.pbtxt: as it was agreed on, of the syntax that Triton's own protobuf reads, and true to the graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import numpy as np
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from builder.formats.triton_config import parse_config
from builder.model.golden import GoldenCase
from builder.model.manifest import DimRange, ModelManifest, Renames
from builder.model.server_settings import BatchingSettings, ServerSettings
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.servers.triton_config import (
    BATCH_LIMIT,
    Backend,
    NotForTriton,
    TritonModel,
    config_text,
    find_batching,
    find_warm_up,
)
from tests.support.golden import Golden


def tensor(name: str, datatype: Datatype, *shape: int | str) -> TensorSpec:
    return TensorSpec(name=name, datatype=datatype, shape=shape)


IMAGES = Signature(
    inputs=(tensor("image", Datatype.FP32, "batch", 1, 8, 8),), outputs=(tensor("scores", Datatype.FP32, "batch", 10),)
)
LABELS = Signature(
    inputs=(tensor("rows", Datatype.FP64, "rows", 4), tensor("text", Datatype.BYTES, "rows", 1)),
    outputs=(tensor("label", Datatype.INT64, "rows"),),
)
TOKENS = Signature(
    inputs=(
        tensor("input_ids", Datatype.INT64, "batch", "sequence"),
        tensor("mask", Datatype.BOOL, "batch", "sequence"),
    ),
    outputs=(tensor("last", Datatype.FP16, "batch", "sequence", 384),),
)
FIXED = Signature(
    inputs=(tensor('say "x"\n\u00e4', Datatype.UINT8, 1, 3),), outputs=(tensor("y", Datatype.BYTES, 1, 3),)
)
PLAIN = Signature(
    inputs=(tensor("text", Datatype.BYTES, "batch"),), outputs=(tensor("embedding", Datatype.FP32, "batch", 384),)
)
BOUNDED = DimRange(name="batch", min=1, opt=8, max=256)


def model(
    name: str = "digits",
    signature: Signature = IMAGES,
    *,
    backend: Backend = Backend.PYTHON,
    on_gpu: bool = False,
    cases: tuple[GoldenCase, ...] = (),
    **manifest: object,
) -> TritonModel:
    given = ModelManifest(name=name, **manifest)  # type: ignore[arg-type]
    batched = find_batching(signature, given).limit > 0
    return TritonModel(
        name=name,
        signature=signature,
        manifest=given,
        backend=backend,
        on_gpu=on_gpu,
        warm_up=find_warm_up(signature, cases, batched),
    )


def case(name: str, **inputs: object) -> GoldenCase:
    return GoldenCase(name=name, inputs={key: np.asarray(value) for key, value in inputs.items()}, outputs={})


IMAGE_CASES = (
    case("many", image=np.ones((5, 1, 8, 8), np.float32)),
    case("two", image=np.arange(128, dtype=np.float32).reshape(2, 1, 8, 8)),
)
LABEL_CASE = case("row", rows=[[1.0, 2.0, 3.0, 4.0]], text=np.array([["zw\u00f6lf".encode()]], object))
MODELS = {
    "digits": model(cases=IMAGE_CASES, dims=(BOUNDED,)),
    "labels": model("labels", LABELS, cases=(LABEL_CASE,), server=ServerSettings(threads=3)),
    "tokens": model("tokens", TOKENS, server=ServerSettings(queue=7)),
    "fixed": model("fixed", FIXED),
    "plain": replace(model("text", PLAIN), is_plain=True),
    "native-cpu": model("native", backend=Backend.ONNXRUNTIME, cases=IMAGE_CASES),
    "native-gpu": model("native", backend=Backend.ONNXRUNTIME, on_gpu=True, dims=(BOUNDED,)),
}


def parsed(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_was_agreed_on(name: str, golden: Golden) -> None:
    golden(f"triton/{name}.pbtxt", config_text(MODELS[name]))


@pytest.mark.parametrize("name", MODELS)
def test_tritons_own_protobuf_reads_what_was_meant(name: str) -> None:
    meant = MODELS[name]
    config = parsed(config_text(meant))
    limit = meant.batching.limit
    assert (config.name, config.backend, config.max_batch_size) == (meant.name, meant.backend.value, limit)
    for said, specs in ((config.input, meant.signature.inputs), (config.output, meant.signature.outputs)):
        assert [each.name for each in said] == [spec.name for spec in specs]
        assert [list(each.dims) for each in said] == [spec.protocol_shape[1 if limit else 0 :] for spec in specs]
    assert config.HasField("dynamic_batching") == bool(limit)
    assert config.version_policy.latest.num_versions == 1
    kind = ModelInstanceGroup.KIND_GPU if meant.on_gpu else ModelInstanceGroup.KIND_CPU
    assert [group.kind for group in config.instance_group] == [kind], "never KIND_AUTO"


@pytest.mark.parametrize("name", MODELS)
def test_mbuilds_own_reader_finds_the_graphs_tensors_in_it(name: str) -> None:
    meant = MODELS[name]
    config = parse_config(config_text(meant).encode(), PurePosixPath("config.pbtxt"))
    for found, specs in ((config.inputs, meant.signature.inputs), (config.outputs, meant.signature.outputs)):
        assert [(each.name, each.datatype, each.protocol_shape) for each in found] == [
            (spec.name, spec.datatype, spec.protocol_shape) for spec in specs
        ]


def test_the_warm_up_is_the_first_row_of_the_smallest_case() -> None:
    config = parsed(config_text(MODELS["digits"]))
    (sample,) = config.model_warmup
    assert (sample.name, sample.batch_size, list(sample.inputs["image"].dims)) == ("two", 1, [1, 8, 8])
    warm_up = MODELS["digits"].warm_up
    assert warm_up is not None
    assert dict(warm_up.files()) == {"input_0": np.arange(64, dtype="<f4").tobytes()}


def test_a_warm_up_without_batches_keeps_all_dims_and_writes_lengths_before_bytes() -> None:
    (sample,) = parsed(config_text(MODELS["labels"])).model_warmup
    assert sample.batch_size == 0
    assert list(sample.inputs["rows"].dims) == [1, 4]
    warm_up = MODELS["labels"].warm_up
    assert warm_up is not None
    assert dict(warm_up.files())["input_1"] == b"\x06\x00\x00\x00zw\xc3\xb6lf"


def test_there_is_no_warm_up_without_a_case_that_has_something_in_each_tensor() -> None:
    empty = case("empty", image=np.zeros((0, 1, 8, 8), np.float32))
    assert find_warm_up(IMAGES, (empty,), batched=True) is None
    assert "model_warmup" not in config_text(model(cases=(empty,)))


@pytest.mark.parametrize(
    ("signature", "limit"),
    [
        (IMAGES, BATCH_LIMIT),
        (TOKENS, BATCH_LIMIT),
        (LABELS, 0),
        (FIXED, 0),
        (Signature(inputs=(tensor("x", Datatype.FP32, "n", 2),), outputs=(tensor("y", Datatype.FP32, "m", 2),)), 0),
        (Signature(inputs=(tensor("x", Datatype.FP32, "n", 2),), outputs=(tensor("y", Datatype.FP32, 1, 2),)), 0),
    ],
)
def test_batches_are_for_tensors_that_all_begin_with_the_same_dynamic_dim(signature: Signature, limit: int) -> None:
    assert find_batching(signature, ModelManifest(name="m")).limit == limit


@pytest.mark.parametrize(("most", "limit"), [(3, 3), (None, BATCH_LIMIT)])
def test_a_bound_of_model_yaml_holds(most: int | None, limit: int) -> None:
    manifest = ModelManifest(name="m", dims=(DimRange(name="batch", min=1, opt=1, max=most),))
    assert find_batching(IMAGES, manifest).limit == limit


@pytest.mark.parametrize(
    ("wish", "preferred", "microseconds", "rows"),
    [
        (BatchingSettings(), [], 0, "8"),
        (BatchingSettings(max_batch=6), [], 0, "6"),
        (BatchingSettings(preferred=(2, 16), delay_seconds=0.0025), [2, 16], 2500, "8"),
    ],
)
def test_batching_as_model_yaml_wishes(
    wish: BatchingSettings, preferred: list[int], microseconds: int, rows: str
) -> None:
    config = parsed(config_text(model(server=ServerSettings(batching=wish))))
    assert list(config.dynamic_batching.preferred_batch_size) == preferred
    assert config.dynamic_batching.max_queue_delay_microseconds == microseconds
    assert config.parameters["rows"].string_value == rows


def test_no_queue_policy_makes_single_requests_wait() -> None:
    config = parsed(config_text(model(server=ServerSettings(queue=3))))
    assert not config.dynamic_batching.HasField("default_queue_policy")


def test_one_row_at_a_time_bounds_no_request() -> None:
    config = parsed(config_text(model(server=ServerSettings(batching=BatchingSettings(max_batch=1)))))
    assert not config.HasField("dynamic_batching")
    assert config.max_batch_size == BATCH_LIMIT


def test_preferred_batches_are_not_beyond_the_bound() -> None:
    wish = ServerSettings(batching=BatchingSettings(preferred=(4, 8)))
    small = model(dims=(DimRange(name="batch", min=1, opt=1, max=4),), server=wish)
    assert list(parsed(config_text(small)).dynamic_batching.preferred_batch_size) == [4]


def one(spec: TensorSpec) -> Signature:
    return Signature(inputs=(spec,), outputs=(tensor("y", Datatype.FP32, "n", 1),))


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (model(signature=one(tensor("x", Datatype.BF16, "n", 1))), "x is BF16"),
        (model(signature=one(tensor("x", Datatype.FP32))), "x is a scalar"),
        (model(signature=one(tensor("x", Datatype.FP32, "n", 0))), "x has a dim of fixed size 0"),
        (model(backend=Backend.ONNXRUNTIME, renames=Renames(inputs=(("x", "image"),))), "renames tensors"),
    ],
)
def test_what_triton_cannot_carry_is_refused_by_name(refused: TritonModel, reason: str) -> None:
    with pytest.raises(NotForTriton, match=reason):
        config_text(refused)


def test_tritons_own_backend_takes_bf16() -> None:
    signature = one(tensor("x", Datatype.BF16, "n", 1))
    config = parsed(config_text(model(signature=signature, backend=Backend.ONNXRUNTIME)))
    assert DataType.Name(config.input[0].data_type) == "TYPE_BF16"
