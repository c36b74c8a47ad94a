"""An image for GPUs against what it says of itself, and the loader's cache against what is there."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from builder.elf import ElfFacts
from builder.elf.gpu_code import GpuCode
from builder.elf.loader_cache import PLACE, loader_cache
from builder.oci.config import ImageConfig
from builder.oci.entry import EntryKind
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform
from builder.probe.checks import static_checks
from builder.probe.contents import ImageContents, ImageFile
from builder.probe.gpu import FACTS
from builder.probe.layer_contents import LayerFile
from builder.probe.runner import ProbedImage

HOME = PurePosixPath("/opt/mbuild/runtime/nvidia/cu13/lib")
PROVIDER = PurePosixPath("/opt/mbuild/runtime/onnxruntime/capi/libonnxruntime_providers_cuda.so")
CONFIGURED = PurePosixPath("/etc/ld.so.conf.d/mbuild-gpu.conf")
CODE = tuple(map(GpuCode.named, ("sm_75", "sm_90a", "compute_120")))
SAID = {
    "schema": 1,
    "provider": "CUDAExecutionProvider",
    "capabilities": ["7.5", "9.0a"],
    "ptx": "12.0",
    "parts": {"cudart": "always", "cublas": "always"},
}
NAMES = ("libcudart.so.13", "libcublas.so.13", "libcublasLt.so.13")
DEEP = "libcublasLt.so.13"


def found(
    names: tuple[str, ...] = NAMES,
    *,
    said: object = SAID,
    cached: tuple[str, ...] = NAMES,
    cache: bytes | None = None,
    code: tuple[GpuCode, ...] = CODE,
) -> list[str]:
    """What the checks have to say of an image with these libraries, without what other checks find."""
    facts = {HOME / name: ElfFacts(machine="EM_X86_64", soname=name) for name in names}
    facts[PROVIDER] = ElfFacts(machine="EM_X86_64", needed=NAMES, gpu=code)
    kept = {
        FACTS: said if isinstance(said, bytes) else json.dumps(said).encode(),
        CONFIGURED: f"{HOME}\n".encode(),
        PLACE: loader_cache([(name, HOME / name) for name in cached], "amd64") if cache is None else cache,
    }
    elves = {path: LayerFile(path=path, kind=EntryKind.FILE, mode=0o755, elf=elf) for path, elf in facts.items()}
    texts = {path: LayerFile(path=path, kind=EntryKind.FILE, mode=0o644) for path in kept}
    files = {path: ImageFile(entry=entry, layer=0) for path, entry in {**elves, **texts}.items()}
    platform = Platform(os="linux", architecture="amd64")
    config = ImageConfig.build(platform=platform, created="", settings={}, diff_ids=(), history=())
    manifest = Manifest.build(config=config.descriptor, layers=())
    image = ProbedImage(layout=Layout(Path("nowhere")), manifest=manifest, config=config, base_layers=0)
    checks = {check.name: check for check in static_checks(image, ImageContents(files=files, kept=kept))}
    return [one.text for name in ("libraries-present", "gpu-libraries") for one in checks[name].findings]


def test_an_image_that_is_what_it_says() -> None:
    assert found() == []


@pytest.mark.parametrize("gone", NAMES)
def test_a_library_that_is_missing_is_named_with_who_needs_it_and_its_part(gone: str) -> None:
    part = "cudart" if "cudart" in gone else "cublas"
    left = tuple(name for name in NAMES if name != gone)
    assert found(left, cached=left) == [
        f"{PROVIDER} needs {gone}",
        f"{FACTS} has the part {part}, but not {gone.partition('.so')[0]}.so",
    ]


def test_a_cache_that_was_made_before() -> None:
    assert found(cached=NAMES[:2]) == [
        f"{PLACE} does not name {DEEP}, which is in {HOME} of the loader's configuration",
        f"{PROVIDER} needs {DEEP} (there is {HOME / DEEP}, where the loader does not look for it)",
    ]
    assert found(cached=(*NAMES, "libold.so.1")) == [f"{PLACE} names {HOME}/libold.so.1, which is not there"]
    first = found(cache=b"nothing of the kind")[0]
    assert first.startswith(f"{PLACE} cannot be read: ")


def test_claims_without_code() -> None:
    (problem,) = found(said={**SAID, "capabilities": ["7.5", "8.0", "9.0a"]})
    assert problem.startswith(f"{PROVIDER} has no code sm_80, which the image claims")
    assert len(found(code=())) == 3
    assert found(said={**SAID, "capabilities": ["7.5"], "ptx": ""}) == []


@pytest.mark.parametrize("said", [b"{", b"[]", {}, {**SAID, "capabilities": ["nine"]}, {**SAID, "parts": None}])
def test_what_cannot_be_read_is_told(said: object) -> None:
    (problem,) = found(said=said)
    assert problem.startswith(f"{FACTS} cannot be read")


def test_another_provider_is_not_held_to_cudas_rules() -> None:
    assert found(said={**SAID, "provider": "OthersExecutionProvider", "parts": []}, code=()) == []
