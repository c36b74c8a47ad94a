"""The face of a package as a table for people."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from builder.cli.sinks import amount
from builder.cli.tables import Row, print_rows, tensor_text
from builder.model.attached import MOUNT_PATH, SUB_PATH, USE, WEIGHTS, Use
from builder.model.modelpack import param_size

if TYPE_CHECKING:
    from builder.model.face import Face, FaceModel
    from builder.model.measured import Measured, MeasuredParity
    from builder.pipeline.packages.modelpack import PackedModel
    from builder.pipeline.packages.package import Package


def print_package(package: Package | PackedModel) -> None:
    from builder.pipeline.packages.modelpack import PackedModel

    if isinstance(package, PackedModel):
        print_rows(list(_packed(package)))
        return
    print_rows([*_image(package), *(_face(package.face, package.measured) if package.face else _foreign(package))])
    if package.measured:
        print_rows(list(_measured(package.measured)))
    print_rows([("with", f"{what}  {digest}") for what, digest in package.attached])


def _packed(packed: PackedModel) -> Iterator[Row]:
    said, manifest = packed.said, packed.manifest
    yield "pack", f"{packed.artifact} (ModelPack)"
    if str(packed.digest) not in packed.artifact:
        yield "digest", str(packed.digest)
    yield "size", f"{amount(packed.size, 'bytes')} to pull, in {amount(len(manifest.layers), 'layers')}"
    if said.created:
        yield "created", said.created
    licences = f" ({', '.join(said.licences)})" if said.licences else ""
    yield "model", f"{said.name} {said.version}".strip() + licences
    if said.description:
        yield "", said.description
    size = f"{said.parameters} parameters" if said.parameters else ""
    made = [said.format, " in ".join(filter(None, (size, said.precision.replace(",", ", ")))), said.quantization]
    yield "format", ", ".join(filter(None, made)) or "not said"
    if manifest.subject:
        yield "image", str(manifest.subject.digest)


def _image(package: Package) -> Iterator[Row]:
    yield "image", package.image
    if str(package.digest) not in package.image:
        yield "digest", str(package.digest)
    others = ", ".join(str(platform) for platform, _ in package.platforms)
    yield "for", str(package.platform) + (f" (of {others})" if len(package.platforms) > 1 else "")
    layers = amount(len(package.manifest.layers), "layers")
    yield "size", f"{amount(package.size, 'bytes')} to pull, in {layers}"
    if package.created:
        yield "created", package.created
    labels = package.config.labels
    if labels.get(USE) == Use.SERVER:
        yield "models", f"not in it; directory {SUB_PATH} of {labels.get(WEIGHTS)} belongs at {MOUNT_PATH}"


def _foreign(package: Package) -> Iterator[Row]:
    if package.config.labels.get(USE) == Use.WEIGHTS:
        yield "weights", f"its directory {SUB_PATH} is a volume for a server without models; it runs nothing"
        return
    yield "face", "none: this mbuild did not make it; what any image says follows"
    for name, value in package.settings.items():
        yield name, " ".join(map(str, value)) if isinstance(value, list) else str(value)
    for key, value in sorted(package.config.labels.items()):
        yield "label", f"{key}={value}"


def _face(face: Face, measured: Measured | None) -> Iterator[Row]:
    licence = f" ({face.licence})" if face.licence else ""
    yield "package", f"{face.name} {face.version}{licence}"
    if face.description:
        yield "", face.description
    ports = ", ".join(map(str, face.ports))
    yield "server", f"{face.server} for {face.target}, port {ports}"
    close = {one.name: one for one in measured.parity} if measured else {}
    for model in face.models:
        yield from _model(model, close.get(model.name))
    yield "wheels", ", ".join(f"{name} {version}" for name, version in sorted(face.wheels.items())) or "none"
    if face.packages:
        yield "Debian", ", ".join(f"{name} {version}" for name, version in sorted(face.packages.items()))
    yield "base", f"{face.base_name} {face.base_digest}"
    yield "lock", face.lock_digest
    if gpu := face.gpu:
        later = f", from {gpu.ptx} on compiled by the driver" if gpu.ptx else ""
        yield "GPU", f"CUDA {gpu.cuda}, driver {gpu.driver} or later, {', '.join(gpu.capabilities)}{later}"
        yield "", "libraries: " + ", ".join(gpu.parts) or "none"


def _model(model: FaceModel, close: MeasuredParity | None) -> Iterator[Row]:
    made = [f"from {model.format}", *([model.quantized] if model.quantized else [])]
    if model.parameters.count:
        made.append(f"{param_size(model.parameters.count)} parameters in {', '.join(model.parameters.precision)}")
    made += [f"{name} {version}" for name, version in sorted(model.frameworks.items())]
    yield "model", f"{model.name} {model.version}: {', '.join(made)}"
    for name, side in (("inputs", model.signature.inputs), ("outputs", model.signature.outputs)):
        for number, tensor in enumerate(side):
            yield "" if number else name, tensor_text(tensor)
    parity = model.parity
    edges = f" and {amount(parity.edges, 'edges')}" if parity.edges else ""
    text = f"{amount(parity.cases, 'golden cases')}{edges} agree within {parity.absolute:g} + {parity.relative:g} |x|"
    if close and math.isfinite(close.max_absolute):
        text += f"; at most {close.max_absolute:.2g} off"
    yield "parity", text


def _measured(measured: Measured) -> Iterator[Row]:
    by = f" by {measured.runner}" + (f" under {measured.emulator}" if measured.emulator else "")
    if measured.ready_seconds is not None:
        parts = ", ".join(f"{name} {seconds:.2f}" for name, seconds in (measured.start or {}).items())
        yield "ready", f"{measured.ready_seconds:.2f} s after the start{f' ({parts})' if parts else ''}, measured{by}"
    if measured.peak_memory_bytes is not None:
        yield "memory", f"{amount(measured.peak_memory_bytes, 'bytes')} at most"
    if latency := measured.latency_binary or measured.latency_json:
        yield "latency", f"{latency.p50_ms:.2f} ms, 99 of 100 within {latency.p99_ms:.2f} ms"
