"""What is deployed, for every server and target, as values."""

from __future__ import annotations

from dataclasses import replace

from builder.deploy.served import Served
from builder.model.attached import WeightsVolume
from builder.model.face import FaceGpu
from builder.model.measured import Measured
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference
from tests.support.faces import FACE

IMAGE = PinnedReference(registry="registry.example:5000", repository="team/digits", digest=Digest("sha256:" + "1" * 64))
MEASURED = Measured(ready_seconds=0.53, peak_memory_bytes=93 * 2**20)
CUDA12 = FaceGpu(cuda="12.9", driver="525.60.13", capabilities=("7.0", "8.0", "8.6", "9.0a"), ptx="9.0")
CUDA13 = FaceGpu(cuda="13.0", driver="580.65.06", capabilities=("7.5", "8.0", "9.0", "10.0", "12.0"), ptx="12.0")
TENSORRT = FaceGpu(cuda="12.9", driver="", capabilities=("8.6", "8.9"))

CPU = Served(
    name="digits",
    image=IMAGE,
    face=FACE,
    platforms=(Platform.parse("linux/amd64"),),
    grace_seconds=25,
    model_bytes=3 * 2**20,
    measured=MEASURED,
)


def part(digit: str) -> PinnedReference:
    """An image of the same repository."""
    return replace(IMAGE, digest=Digest("sha256:" + digit * 64))


SERVED = {
    "http-cpu": CPU,
    "http-cpu-both": replace(CPU, platforms=(Platform.parse("linux/amd64"), Platform.parse("linux/arm64"))),
    "http-cpu-unmeasured": replace(CPU, measured=None),
    "triton-cpu": replace(CPU, face=replace(FACE, server="triton", ports=(8000, 8001, 8002))),
    "http-cuda12": replace(CPU, face=replace(FACE, target="cuda12", gpu=CUDA12)),
    "http-cuda13": replace(CPU, face=replace(FACE, target="cuda13", gpu=CUDA13), measured=None),
    "triton-cuda12": replace(
        CPU, face=replace(FACE, server="triton", target="cuda12", ports=(8000, 8001, 8002), gpu=CUDA12)
    ),
    "http-tensorrt": replace(CPU, face=replace(FACE, target="tensorrt", gpu=TENSORRT)),
    "http-cpu-in-two": replace(CPU, volume=WeightsVolume(server=part("3"), weights=part("4"))),
    "http-tensorrt10": replace(CPU, face=replace(FACE, target="tensorrt10", gpu=CUDA13), measured=None),
}
