"""Results of builds as ``mbuild build --format json`` gives them, for what reads them."""

from __future__ import annotations

from typing import Any

DIGESTS = tuple(f"sha256:{number:064x}" for number in range(1, 20))


def parity(name: str, **changes: Any) -> dict[str, Any]:
    tensor = {"name": "y", "max_absolute": 2.5e-07, "max_relative": 1e-05, "cosine": 1.0, "top1": 1.0}
    compared = {"cases": [{"name": "one", "passed": True, "tensors": [tensor]}]}
    return {
        "schema": 1,
        "passed": True,
        "source": name,
        "versions": {},
        "runtime": "1.31.1",
        "guard": "namespaces",
        "tolerance": {"absolute": 1e-5, "relative": 1e-3},
        "cases": [{"name": "one", "given": False, "outputs": ["y"]}],
        "conversion": compared,
        "golden": compared,
        "edges": [{"name": "edge-zeros", "outcome": "equal"}, {"name": "edge-empty", "outcome": "not-answered"}],
        **changes,
    }


def model(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "version": "1.0.0",
        "format": "sklearn",
        "digest": DIGESTS[0],
        "served_as": [name],
        "quantize": None,
        "parity": parity("scikit-learn"),
        **changes,
    }


def layer(role: str, number: int, size: int, **changes: Any) -> dict[str, Any]:
    return {
        "role": role,
        "digest": DIGESTS[number],
        "diff_id": DIGESTS[number],
        "media_type": "application/vnd.oci.image.layer.v1.tar",
        "size": size,
        "unpacked_size": 3 * size,
        "models": [],
        **changes,
    }


def report(**changes: Any) -> dict[str, Any]:
    latency = {"requests": 100, "p50_ms": 0.4, "p99_ms": 1.25}
    return {
        "runner": "embedded",
        "emulator": None,
        "provider": "CPU",
        "ready_seconds": 0.412,
        "start": None,
        "cases": [{}, {}, {}],
        "latency": {"json": latency, "binary": latency},
        "peak_memory_bytes": 65_400_000,
        **changes,
    }


def push(reference: str, tag: str, **changes: Any) -> dict[str, Any]:
    by_role = {"base": {"mounted": 15_000_000}, "model": {"uploaded": 1_000_000, "reused": 500_000}}
    return {
        "reference": reference,
        "tag": tag,
        "uploaded": 1_000_000,
        "mounted": 15_000_000,
        "skipped": 500_000,
        "by_role": by_role,
        "also": [],
        **changes,
    }


def result(**changes: Any) -> dict[str, Any]:
    """An image of one platform that was tested and not pushed."""
    layers = [layer("base", 1, 15_000_000), layer("model", 2, 1_000_000), layer("model", 3, 500_000)]
    platform = {
        "platform": "linux/amd64",
        "identifier": "sklearn-http-cpu-linux_amd64",
        "digest": DIGESTS[9],
        "id": DIGESTS[10],
        "size": 16_500_000,
        "loaded_as": None,
        "layers": [one["digest"] for one in layers],
        "test": report(),
    }
    only = model("a_b")
    return {
        "schema": 1,
        "name": "a_b",
        "version": "1.0.0",
        "identifier": "sklearn-http-cpu-linux_amd64",
        "engine": "embedded",
        "image": {
            "reference": None,
            "digest": DIGESTS[9],
            "id": DIGESTS[10],
            "platform": "linux/amd64",
            "size": 16_500_000,
            "loaded_as": None,
        },
        "platforms": [platform],
        "layers": layers,
        "models": [only],
        "files": {"layout": "/tmp/layout", "lock": "mbuild.lock"},
        "quantize": None,
        "steps": [
            {"name": "detect", "seconds": 0.01, "cached": True, "detail": ""},
            {"name": "assemble", "seconds": 1.5, "cached": False, "detail": ""},
            {"name": "test", "seconds": 0.75, "cached": False, "detail": ""},
        ],
        "parity": only["parity"],
        "test": platform["test"],
        "push": None,
        **changes,
    }
