"""Documents for clusters as a person reads them, and what is said where there can be none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from builder.cli.app import main
from builder.deploy.canary import canary_documents
from builder.deploy.documents import to_yaml
from builder.deploy.kserve import kserve_documents
from builder.deploy.kubernetes import kubernetes_documents
from builder.deploy.wanted import Wanted
from builder.oci.digest import Digest
from tests.support.deployed import CPU, SERVED
from tests.support.faces import FACE
from tests.support.golden import Golden
from tests.support.tiny_image import tiny_layout

REPOSITORY = ("--repository", "registry.example/team/digits")


def test_on_a_processor(golden: Golden) -> None:
    golden("deploy/cpu.yaml", to_yaml(kubernetes_documents(CPU, Wanted(namespace="prod"))))


def test_on_a_gpu_with_triton(golden: Golden) -> None:
    golden("deploy/triton-cuda12.yaml", to_yaml(kubernetes_documents(SERVED["triton-cuda12"], Wanted())))


def test_a_canary(golden: Golden) -> None:
    new = replace(CPU, image=replace(CPU.image, digest=Digest("sha256:" + "2" * 64)))
    *_, canary = canary_documents(CPU, new, Wanted(), 10)
    golden("deploy/canary.yaml", to_yaml([canary]))


def test_with_kserve(golden: Golden) -> None:
    golden("deploy/kserve-triton.yaml", to_yaml(kserve_documents(SERVED["triton-cpu"], Wanted())))


WRONG = {
    "no registry named": ["kubernetes", "digits:1"],
    "no registry there": ["kubernetes", "localhost:1/team/digits:1"],
    "a layout alone": ["kubernetes", "<LAYOUT>"],
    "another's image": ["kubernetes", "<OTHER>", *REPOSITORY],
    "no DNS name": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--name", "Digits_v1"],
    "no namespace": ["kubernetes", "<LAYOUT>", *REPOSITORY, "-n", "Prod"],
    "no host": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--ingress", "https://models.example.com/digits"],
    "no amount": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--memory", "512MB"],
    "no setting": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--env", "MBUILD_ACCESS_LOG"],
    "the image's port": ["kserve", "<LAYOUT>", *REPOSITORY, "--env", "MBUILD_PORT=80"],
    "volumes too early": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--weights-volume", "--kubernetes", "1.34"],
    "fewer at most": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--replicas", "3", "--max-replicas", "2"],
    "an old cluster": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--kubernetes", "1.27"],
    "half a canary": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--canary", "10"],
    "a canary of itself": ["kubernetes", "<LAYOUT>", *REPOSITORY, "--canary", "10", "--from", "<LAYOUT>"],
    "no such platform": ["kserve", "<LAYOUT>", *REPOSITORY, "--platform", "amd"],
}


def test_what_cannot_be_deployed(tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    places = {
        "<LAYOUT>": str(tiny_layout(tmp_path / "a", labels=FACE.to_labels()).path),
        "<OTHER>": str(tiny_layout(tmp_path / "b").path),
    }
    told = []
    for what, arguments in WRONG.items():
        with pytest.raises(SystemExit) as ended:
            main(["deploy", *(places.get(one, one) for one in arguments)])
        text = capsys.readouterr()
        assert text.out == ""
        told.append(f"{what}: {ended.value.code}\n{text.err}")
    everything = re.sub(r"\[Errno \d+\]", "[Errno <N>]", "\n".join(told))
    everything = re.sub(r"sha256:[0-9a-f]{64}", "sha256:<HEX>", everything)
    for name, place in places.items():
        everything = everything.replace(place, name)
    golden("deploy/errors.txt", everything)
