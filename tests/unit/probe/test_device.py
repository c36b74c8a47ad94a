"""What a server says of the device that it runs on, and how it says that it does not start."""

from __future__ import annotations

import json

from builder.probe.device import NO_GPU, Device, Refusal, plain_sentence, provider_in

SENTENCE = "This image needs an NVIDIA GPU."


def line(level: str, message: str) -> str:
    return json.dumps({"level": level, "message": message})


def test_a_refusal_is_said_to_people_and_in_the_log() -> None:
    assert plain_sentence([line("info", "listening"), SENTENCE, line("error", SENTENCE)]) == SENTENCE
    assert plain_sentence([line("error", SENTENCE)]) == ""
    assert plain_sentence([SENTENCE, "[1, 2]", "Traceback"]) == ""


def test_what_serves() -> None:
    said = {"parameters": {"provider": "CUDAExecutionProvider", "device": "GPU 0: NVIDIA H200"}}
    assert provider_in(json.dumps(said)) == "CUDAExecutionProvider on GPU 0: NVIDIA H200"
    assert provider_in(json.dumps({"name": "mbuild-serve"})) == provider_in("") == "unknown"


def test_in_the_report() -> None:
    device = Device(provider=NO_GPU, refusal=Refusal(sentence=SENTENCE, seconds=0.25))
    assert device.to_json() == {
        "provider": "CPU (no GPU here)",
        "gpu_memory_bytes": None,
        "refused_without_gpu": {"sentence": SENTENCE, "seconds": 0.25},
    }
