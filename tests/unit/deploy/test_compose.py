"""Compose files for every server and target are what the specification's schema takes, and say what they should."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
import yaml

from builder.deploy.compose import MalformedPublish, Published, compose_document
from builder.deploy.documents import to_yaml
from builder.deploy.monitoring.stack import ServiceNameTaken, monitoring_files, with_monitoring
from builder.deploy.monitoring.watched import watch
from builder.deploy.served import Served
from builder.deploy.sizing import size
from tests.support.deployed import CPU, SERVED

SCHEMA = json.loads((files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json").read_text())


def written(served: Served, published: Published = Published(), **sizing: str) -> dict[str, Any]:  # noqa: B008
    """As a reader has it."""
    return dict(yaml.safe_load(to_yaml([compose_document(served, size(served, **sizing), published)])))


@pytest.mark.parametrize("name", SERVED)
def test_the_specification_takes_it(name: str) -> None:
    made = compose_document(SERVED[name], size(SERVED[name]), Published())
    for document in (made, with_monitoring(made)):
        jsonschema.validate(yaml.safe_load(to_yaml([document])), SCHEMA)


def test_the_schema_refuses_what_it_does_not_know() -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"services": {"a": {"image": "a", "memory_limit": "1g"}}}, SCHEMA)


def test_a_server_is_started_as_it_was_tested() -> None:
    found = written(CPU, Published.parse("[::1]:9000"), cpu="500m", memory="1Gi")["services"]["digits"]
    assert found["image"] == str(CPU.image) and found["ports"] == ["[::1]:9000:8080"]
    assert found["read_only"] and found["cap_drop"] == ["ALL"] and found["user"] == "10001:10001"
    assert found["mem_limit"] == found["memswap_limit"] == "1024m" and found["cpus"] == "0.5"
    assert found["stop_grace_period"] == "30s" and found["healthcheck"] == {"start_period": "60s"}
    assert "shm_size" not in found and "deploy" not in found


def test_settings_are_taken_as_they_are() -> None:
    made = compose_document(CPU, size(CPU), Published(), {"MBUILD_API_KEY": "a$HOME", "MBUILD_QUEUE": "64"})
    jsonschema.validate(made, SCHEMA)
    assert made["services"]["digits"]["environment"] == {"MBUILD_API_KEY": "a$$HOME", "MBUILD_QUEUE": "64"}
    assert "environment" not in written(CPU)["services"]["digits"]


def test_triton_and_gpus() -> None:
    found = written(SERVED["triton-cuda12"])["services"]["digits"]
    assert found["ports"] == ["127.0.0.1:8000:8000", "127.0.0.1:8001:8001", "127.0.0.1:8002:8002"]
    (device,) = found["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]} and found["shm_size"] == "160m"


@pytest.mark.parametrize("text", ["", "x", "0", "65534", "host:80", "1.2.3.4:", "::1:80", "80:80"])
def test_where_nothing_can_be_published(text: str) -> None:
    with pytest.raises(MalformedPublish):
        Published.parse(text)


def test_what_watches_it() -> None:
    triton = SERVED["triton-cpu"]
    made = with_monitoring(compose_document(triton, size(triton), Published()))
    found = monitoring_files(triton, watch(triton))
    scraped = yaml.safe_load(found["monitoring/prometheus.yaml"])
    assert scraped["scrape_configs"][0]["static_configs"] == [{"targets": ["digits:8002"]}]
    mounts = [volume for service in ("prometheus", "grafana") for volume in made["services"][service]["volumes"]]
    for local in (mount.split(":")[0].removeprefix("./") for mount in mounts if mount.startswith("./")):
        assert any(path.startswith(f"{local}/") for path in found)
    assert json.loads(found["monitoring/dashboards/digits.json"])["title"] == "digits: serving"
    with pytest.raises(ServiceNameTaken, match="grafana"):
        with_monitoring(compose_document(replace(CPU, name="grafana"), size(CPU), Published()))
