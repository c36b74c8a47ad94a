"""/metrics of a real server, read by Prometheus' own parser."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parsed

from tests.support.onnx_models import identity, place, slow
from tests.support.servers import ask, exchange, running

ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
KEY = {"X-API-Key": "0123456789abcdef"}
TRITON = {
    "nv_inference_request_success": "counter",
    "nv_inference_request_failure": "counter",
    "nv_inference_count": "counter",
    "nv_inference_exec_count": "counter",
    "nv_inference_pending_request_count": "gauge",
    "nv_inference_request_duration_us": "counter",
    "nv_inference_queue_duration_us": "counter",
    "nv_inference_compute_input_duration_us": "counter",
    "nv_inference_compute_infer_duration_us": "counter",
    "nv_inference_compute_output_duration_us": "counter",
    "nv_inference_first_response_histogram_ms": "histogram",
    "nv_cpu_utilization": "gauge",
    "nv_cpu_memory_total_bytes": "gauge",
    "nv_cpu_memory_used_bytes": "gauge",
}


def figures(address: str) -> tuple[dict[str, str], dict[str, float]]:
    """Kinds by family, and values by sample, labels as text; the parser gives every counter the suffix _total."""
    answer = ask(address, "GET", "/metrics", headers=KEY)
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = list(parsed(answer.body.decode()))
    assert len({family.name for family in families}) == len(families)
    values = {}
    for sample in (sample for family in families for sample in family.samples):
        labels = [value for _, value in sorted(sample.labels.items())]
        values[" ".join([sample.name.removesuffix("_total"), *labels])] = sample.value
    return {family.name: family.type for family in families}, values


def test_what_a_server_did_is_in_its_figures(server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "quick", identity("FP32", ("n",)))
    place(tmp_path, "slow", slow(1200))
    environ = {"MBUILD_API_KEY": KEY["X-API-Key"], "MBUILD_THREADS": "1", "MBUILD_QUEUE": "3"}
    with running(server_source, tmp_path, **environ) as server:
        address = server.ready().address
        for _ in range(5):
            assert ask(address, "POST", "/v2/models/quick/infer", ONE, KEY).status == 200
        assert ask(address, "POST", "/v2/models/quick/infer", {"inputs": []}, KEY).status == 400
        assert ask(address, "POST", "/v2/models/quick/infer", ONE).status == 401
        assert exchange(address, b"\x00").startswith(b"HTTP/1.1 400")
        with ThreadPoolExecutor(8) as clients:
            jobs = [clients.submit(ask, address, "POST", "/v2/models/slow/infer", ONE, KEY) for _ in range(8)]
            while (waiting := figures(address)[1])["mbuild_queue_depth slow 1"] < 1:
                assert not all(job.done() for job in jobs), "nothing was ever seen to wait"
            statuses = [job.result().status for job in jobs]
        kinds, values = figures(address)

    assert (
        waiting["mbuild_queue_oldest_seconds slow 1"] > 0 and waiting["nv_inference_pending_request_count slow 1"] > 0
    )
    assert {name: kinds[name] for name in TRITON} == TRITON
    assert values["nv_inference_request_success quick 1"] == values["nv_inference_count quick 1"] == 5
    assert values["nv_inference_first_response_histogram_ms_count quick 1"] == 5
    assert values["mbuild_request_duration_seconds_bucket +Inf quick 1"] == 5
    assert values["mbuild_batch_rows_count quick 1"] == 5
    assert values["nv_inference_request_failure slow REJECTED 1"] == statuses.count(503) > 0
    assert values["mbuild_queue_depth slow 1"] == 0
    assert values["mbuild_auth_failures missing"] == 1 and values["mbuild_auth_failures wrong"] == 0
    assert values["mbuild_requests_refused 400"] == 1
    assert 0 <= values["nv_cpu_utilization"] <= 1
    assert values["mbuild_ready"] == 1 and values["process_max_fds"] > 0
