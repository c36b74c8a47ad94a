"""What the server and its models say about themselves: health, metadata, config, statistics, repository index."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.server.protocol.endpoint import Endpoint, tensor
from tests.support.waiting import until

_INPUT_FLAGS = ("is_shape_tensor", "allow_ragged_batch", "optional", "is_non_linear_format_io")
STATS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
NUMBERS = {"inputs": [tensor("x", "FP32", [2], data=[1, 2])]}


def types_of(value: Any) -> Any:
    """A document without its values: whether two have the same fields."""
    if isinstance(value, dict):
        return {name: types_of(each) for name, each in value.items()}
    return type(value).__name__


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_health_is_a_status_with_an_empty_body(server: Endpoint, path: str) -> None:
    answer = server.get(path)
    assert (answer.status, answer.body) == (200, b"")


def test_the_server(server: Endpoint) -> None:
    metadata = server.get("/v2").json()
    assert types_of(metadata) == {"name": "str", "version": "str", "extensions": "list"}
    assert metadata["name"] == server.differs("server-name", triton="triton", here="mbuild-serve")
    extensions = {"classification", "model_repository", "model_configuration", "statistics", "binary_tensor_data"}
    assert extensions <= set(metadata["extensions"])
    more = {"system_shared_memory", "trace", "logging"}
    assert more & set(metadata["extensions"]) == server.differs("shared-memory", triton=more, here=set())


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_a_model(server: Endpoint, version: str) -> None:
    assert server.get(f"/v2/models/mlp{version}").json() == {
        "name": "mlp",
        "versions": ["1"],
        "platform": server.differs("platform", triton="python", here="onnxruntime_onnx"),
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}],
    }


def test_models_of_fixed_dims_of_no_batch_and_of_several_tensors(server: Endpoint) -> None:
    def inputs(model: str) -> list[tuple[str, str, list[int]]]:
        tensors = server.get(f"/v2/models/{model}").json()["inputs"]
        return [(each["name"], each["datatype"], each["shape"]) for each in tensors]

    assert inputs("one_string") == [("x", "BYTES", [1])]
    assert inputs("line") == [("x", "FP32", [-1])]
    assert inputs("two") == [("a", "FP32", [-1, 2]), ("b", "FP32", [-1, 2]), ("index", "INT64", [-1])]


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_a_model_is_ready(server: Endpoint, version: str) -> None:
    answer = server.get(f"/v2/models/mlp{version}/ready")
    assert answer.status == 200
    assert answer.body == server.differs("ready-body", triton=b"", here=b'{"name":"mlp","ready":true}')


@pytest.mark.parametrize("version", ["", "/versions/1"])
@pytest.mark.parametrize("model", ["mlp", "line"])
def test_a_models_config_is_what_its_metadata_say(server: Endpoint, model: str, version: str) -> None:
    config = server.get(f"/v2/models/{model}{version}/config").json()
    metadata = server.get(f"/v2/models/{model}").json()
    assert config["name"] == model
    assert config["platform"] in ("", metadata["platform"])
    batch = [-1] if config["max_batch_size"] else []
    assert [{"name": each["name"], "shape": batch + each["dims"]} for each in config["input"] + config["output"]] == [
        {"name": each["name"], "shape": each["shape"]} for each in metadata["inputs"] + metadata["outputs"]
    ]
    assert {each["data_type"] for each in config["input"] + config["output"]} == {"TYPE_FP32"}
    assert config["instance_group"][0]["kind"] == "KIND_CPU"


def test_a_config_has_every_field(server: Endpoint) -> None:
    """By the letter: Triton's clients and its load generator read the document without asking what is there."""
    config = server.get("/v2/models/line/config").json()
    assert list(config) == [
        *("name", "platform", "backend", "runtime", "version_policy", "max_batch_size", "input", "output"),
        *("batch_input", "batch_output", "optimization", "instance_group", "default_model_filename"),
        *("cc_model_filenames", "metric_tags", "parameters", "model_warmup"),
    ]
    assert [list(each) for each in (config["input"][0], config["output"][0], config["optimization"])] == [
        ["name", "data_type", "format", "dims", *_INPUT_FLAGS],
        ["name", "data_type", "dims", "label_filename", "is_shape_tensor", "is_non_linear_format_io"],
        [
            *("priority", "input_pinned_memory", "output_pinned_memory"),
            *("gather_kernel_buffer_threshold", "eager_batching"),
        ],
    ]
    assert types_of(config["instance_group"][0]) == {
        **dict.fromkeys(("name", "kind", "host_policy"), "str"),
        **dict.fromkeys(("gpus", "secondary_devices", "profile"), "list"),
        "count": "int",
        "passive": "bool",
    }
    batched = server.get("/v2/models/mlp/config").json()
    assert set(batched["dynamic_batching"]) >= {
        *("preferred_batch_size", "max_queue_delay_microseconds", "preserve_ordering"),
        *("priority_levels", "default_priority_level", "priority_queue_policy"),
    }
    assert batched["max_batch_size"] == 1024


def test_strings_have_a_type_of_their_own_in_a_config(server: Endpoint) -> None:
    assert server.get("/v2/models/one_string/config").json()["input"][0]["data_type"] == "TYPE_STRING"


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_statistics_count_requests_and_rows(server: Endpoint, version: str) -> None:
    def stats() -> dict[str, Any]:
        (found,) = server.get(f"/v2/models/mlp{version}/stats").json()["model_stats"]
        return dict(found)

    before = stats()
    rows = tensor("features", "FP32", [3, 4], data=[1] * 12)
    assert server.infer("mlp", {"inputs": [rows]}).status == 200
    until(lambda: stats()["inference_count"] != before["inference_count"])  # Triton counts behind the response
    after = stats()
    assert (after["name"], after["version"]) == ("mlp", "1")
    assert after["last_inference"] >= before["last_inference"]
    assert after["inference_count"] == before["inference_count"] + 3
    assert after["execution_count"] == before["execution_count"] + 1
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert after["inference_stats"][part]["count"] == before["inference_stats"][part]["count"] + 1
        assert after["inference_stats"][part]["ns"] >= before["inference_stats"][part]["ns"]
    assert after["inference_stats"]["compute_infer"]["ns"] > before["inference_stats"]["compute_infer"]["ns"]
    assert after["inference_stats"]["fail"] == before["inference_stats"]["fail"]


def test_statistics_count_what_failed(server: Endpoint) -> None:
    counted = server.differs("failures", triton="success", here="fail")

    def count() -> int:
        (found,) = server.get("/v2/models/two/stats").json()["model_stats"]
        return int(found["inference_stats"][counted]["count"])

    before = count()
    pair = {"datatype": "FP32", "shape": [1, 2], "data": [1, 2]}
    beyond = tensor("index", "INT64", [1], data=[7])
    assert server.infer("two", {"inputs": [{"name": "a", **pair}, {"name": "b", **pair}, beyond]}).status == 400
    until(lambda: count() == before + 1)


def test_the_statistics_document(server: Endpoint) -> None:
    every = server.get("/v2/models/stats").json()["model_stats"]
    assert {each["name"] for each in every} >= {"mlp", "two", "line"}
    for each in every:
        assert list(each) == [
            *("name", "version", "last_inference", "inference_count", "execution_count"),
            *("inference_stats", "response_stats", "batch_stats", "memory_usage"),
        ]
        assert types_of(each["inference_stats"]) == {name: {"count": "int", "ns": "int"} for name in STATS}


def test_the_statistics_of_batches(server: Endpoint) -> None:
    features = tensor("features", "FP32", [5, 4], data=[1] * 20)
    assert server.infer("mlp", {"inputs": [features]}).status == 200

    def runs_of_five() -> list[dict[str, Any]]:
        (found,) = server.get("/v2/models/mlp/stats").json()["model_stats"]
        return [each for each in found["batch_stats"] if each["batch_size"] == 5]

    until(lambda: bool(runs_of_five()))
    (batch,) = runs_of_five()
    assert list(batch) == ["batch_size", "compute_input", "compute_infer", "compute_output"]
    assert batch["compute_infer"]["count"] >= 1 and batch["compute_infer"]["ns"] > 0


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}', b'{"ready": false}'])
def test_the_repository_index(server: Endpoint, body: bytes) -> None:
    index = {each["name"]: each for each in server.post("/v2/repository/index", body).json()}
    assert {"mlp", "line", "two"} <= set(index)
    assert (index["mlp"]["version"], index["mlp"]["state"]) == ("1", "READY")


@pytest.mark.parametrize("body", [b"x", b'{"ready": 1}', b'{"ready": "yes"}'])
def test_an_index_that_is_asked_for_wrongly(server: Endpoint, body: bytes) -> None:
    answer = server.post("/v2/repository/index", body)
    assert answer.status == server.differs("wrong-request", triton=500, here=400)
    assert answer.error


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_nobody_changes_models_unless_it_is_allowed(server: Endpoint, verb: str) -> None:
    answer = server.post(f"/v2/repository/models/mlp/{verb}")
    assert answer.status == 503
    assert answer.error.startswith("explicit model load / unload is not allowed if polling is enabled")
    assert server.get("/v2/models/mlp/ready").status == 200


@pytest.mark.parametrize("model", ["nowhere", "nowhere/versions/1", "mlp/versions/2", "mlp/versions/99"])
def test_what_is_unknown_is_not_found(server: Endpoint, model: str) -> None:
    name, _, version = model.partition("/versions/")
    words = f"'{name}' is not found" if name == "nowhere" else f"'{name}' version {version} is not found"
    for path in (f"/v2/models/{model}", f"/v2/models/{model}/config"):
        answer = server.get(path)
        assert (answer.status, answer.error[: 27 + len(words)]) == (404, f"Request for unknown model: {words}")
    answer = server.infer(model, NUMBERS)
    assert answer.status == 404 and f"Request for unknown model: {words}" in answer.error
    for path in (f"/v2/models/{model}/ready", f"/v2/models/{model}/stats"):
        answer = server.get(path)
        assert answer.status == server.differs("unknown-model", triton=400, here=404)
        assert answer.error


@pytest.mark.parametrize(
    "path", ["/nowhere", "/V2", "/v2/nowhere", "/v2/models", "/v2/models/mlp/nowhere", "/v2/models/mlp/versions"]
)
def test_paths_that_are_not_there(server: Endpoint, path: str) -> None:
    answer = server.get(path)
    assert answer.status == 404 and answer.error.startswith("Not Found")


@pytest.mark.parametrize("path", ["/v2/", "/v2/models/mlp/", "/v2/models/m%6Cp"])
def test_paths_that_are_written_otherwise(server: Endpoint, path: str) -> None:
    assert server.get(path).status == server.differs("paths", triton=404, here=200)


def test_a_query_is_ignored(server: Endpoint) -> None:
    assert server.get("/v2/models/mlp?x=1").json()["name"] == "mlp"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2"),
        ("DELETE", "/v2"),
        ("OPTIONS", "/v2"),
        ("POST", "/v2/health/ready"),
        ("POST", "/v2/models/mlp"),
        ("GET", "/v2/models/mlp/infer"),
        ("PUT", "/v2/models/mlp/infer"),
        ("OPTIONS", "/v2/models/mlp/infer"),
        ("GET", "/v2/repository/index"),
        ("POST", "/v2/models/mlp/stats"),
    ],
)
def test_methods_that_are_not_allowed(server: Endpoint, method: str, path: str) -> None:
    answer = server.ask(method, path)
    assert answer.status == 405 and answer.error.startswith("Method Not Allowed")


@pytest.mark.parametrize(
    "path",
    [
        "/v2/systemsharedmemory/status",
        "/v2/cudasharedmemory/status",
        "/v2/trace/setting",
        "/v2/models/mlp/trace/setting",
        "/v2/logging",
    ],
)
def test_extensions_that_only_triton_has(server: Endpoint, path: str) -> None:
    assert server.get(path).status == server.differs("shared-memory", triton=200, here=404)


def test_where_the_metrics_are(server: Endpoint) -> None:
    assert server.get("/metrics").status == server.differs("metrics-port", triton=404, here=200)
