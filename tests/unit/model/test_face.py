"""What an image says of itself, and what a report says of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from builder.model.face import MODELS, SIGNATURE, WHEELS, Face, FaceGpu, MalformedFace
from builder.model.measured import Measured, MeasuredLatency, MeasuredParity
from builder.model.parameters import UNKNOWN
from tests.support.faces import FACE, FACE_MODEL


def again(face: Face, **changed: str) -> Face | None:
    labels = {**face.to_labels(), **changed}
    return Face.from_labels(labels, platform=face.platform, ports=face.ports, image="example/digits:1.0.0")


def test_labels_and_json_say_all_of_it() -> None:
    gpu = FaceGpu(cuda="13.0", driver="580.65", capabilities=("7.5", "12.0a"), ptx="12.0", parts=("cublas",))
    for face in (FACE, replace(FACE, gpu=gpu), replace(FACE, description="", licence="", wheels={}, packages={})):
        assert again(face) == face
        assert Face.from_json(face.to_json()) == face


def test_several_models_keep_their_order_and_signatures() -> None:
    face = replace(FACE, models=(FACE_MODEL, replace(FACE_MODEL, name="other", quantized="int8-dynamic")))
    assert again(face) == face


def test_an_image_whose_parameters_nobody_counted() -> None:
    models = json.loads(FACE.to_labels()[MODELS])
    for name in ("parameters", "precision"):
        del models[0][name]
    read = again(FACE, **{MODELS: json.dumps(models)})
    assert read == replace(FACE, models=(replace(FACE_MODEL, parameters=UNKNOWN),))


def test_an_image_of_others_has_no_face() -> None:
    assert Face.from_labels({"maintainer": "somebody"}, platform="linux/amd64", ports=()) is None


@pytest.mark.parametrize(
    ("label", "value", "problem"),
    [
        (SIGNATURE, "{", "dev.mbuild.signature: it is not JSON"),
        (SIGNATURE, "{}", "models[0].signature: null is not a mapping"),
        (
            SIGNATURE,
            '{"digits":{"inputs":[{"name":"x","datatype":"FP32","shape":[null]}],"outputs":[]}}',
            "models[0].signature.inputs[0].shape[0]: null is not a whole number or text",
        ),
        (MODELS, "[3]", "models[0]: 3 is not a mapping"),
        (MODELS, "[]", "models: the list is empty"),
        (WHEELS, "[]", "wheels: [] is not a mapping"),
        ("dev.mbuild.face", "2", "schema: 1 was expected"),
        ("dev.mbuild.server", "other", "server: 'other' is not one of"),
        ("dev.mbuild.lock.digest", "sha256:0", 'lock.digest: "sha256:0" is not a digest (sha256:...)'),
    ],
)
def test_labels_that_somebody_changed_are_told_by_their_names(label: str, value: str, problem: str) -> None:
    with pytest.raises(MalformedFace) as caught:
        again(FACE, **{label: value})
    assert problem in str(caught.value)
    assert "example/digits:1.0.0" in str(caught.value)


REPORT = {
    "models": [
        {
            "name": "digits",
            "parity": {
                "conversion": None,
                "golden": {
                    "cases": [
                        {"tensors": [{"max_absolute": 1e-6, "max_relative": 0.5}]},
                        {"tensors": [{"max_absolute": 2e-6, "max_relative": 0.25}]},
                    ]
                },
            },
        }
    ],
    "platforms": [
        {"platform": "linux/arm64", "test": {"not_run": "no emulator", "checks": []}},
        {
            "platform": "linux/amd64",
            "test": {
                "runner": "embedded",
                "emulator": None,
                "ready_seconds": 0.4,
                "start": {"process": 0.1, "imports": 0.1, "sessions": 0.1, "warm_up": 0.1},
                "latency": {"json": {"requests": 9, "p50_ms": 1.5, "p99_ms": 2.5}, "binary": {"p50_ms": 1}},
                "peak_memory_bytes": 64_000_000,
                "memory_limit": "cgroup",
            },
        },
    ],
}


def test_a_report_tells_what_was_measured_on_the_platform() -> None:
    measured = Measured.from_report(REPORT, "linux/amd64")
    assert measured == Measured(
        ready_seconds=0.4,
        start={"process": 0.1, "imports": 0.1, "sessions": 0.1, "warm_up": 0.1},
        peak_memory_bytes=64_000_000,
        latency_json=MeasuredLatency(p50_ms=1.5, p99_ms=2.5),
        memory_limit="cgroup",
        runner="embedded",
        parity=(MeasuredParity(name="digits", max_absolute=2e-6, max_relative=0.5),),
    )


def test_a_report_of_an_image_that_was_not_run_has_no_figures() -> None:
    measured = Measured.from_report(REPORT, "linux/arm64")
    assert measured == Measured(parity=measured.parity)


@pytest.mark.parametrize("report", [None, [], {"platforms": 3, "models": {}}, {"platforms": [3], "models": ["a"]}])
def test_a_report_that_is_none_gives_no_figures(report: object) -> None:
    assert Measured.from_report(report, "linux/amd64") == Measured()


def test_figures_that_are_no_numbers_are_left_out() -> None:
    test = {"ready_seconds": "soon", "peak_memory_bytes": True, "latency": {"json": {"p50_ms": -1, "p99_ms": 1}}}
    report = {"platforms": [{"platform": "linux/amd64", "test": test}]}
    assert Measured.from_report(report, "linux/amd64") == Measured()
