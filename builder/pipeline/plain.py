"""The plain model around a graph: text, image files or the handler's own inputs in, embeddings or labels out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from builder.errors import SpecError
from builder.events import Warned
from builder.host import Host
from builder.model.generate_plain import generate_plain_cases
from builder.model.golden import GoldenCase, write_case
from builder.model.handler import FILE as HANDLER
from builder.model.handler import Handler, read_handler, with_handler
from builder.model.interface import FILE, Interface, parse_interface
from builder.model.manifest import ModelManifest
from builder.model.signature import Signature
from builder.model.source import ModelSource
from builder.oci.digest import Digest
from builder.pipeline.converted import OnnxModel
from builder.targets.steps import step_requirements


class StepFileMissing(SpecError):
    code = "step-file-missing"
    message = "interface.json names {path}, which is not there"
    hint = "put it beside interface.json, with the name that it says there"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainModel:
    """``files`` go beside interface.json: name, place and digest. ``requirements`` are what the handler asks for.
    ``is_converted``: the whole of it is the converter's, so that the source framework can answer, too."""

    interface: Interface
    files: tuple[tuple[str, Path, Digest], ...]
    cases: tuple[GoldenCase, ...]
    requirements: tuple[str, ...]
    is_converted: bool

    @property
    def pins(self) -> tuple[str, ...]:
        """What the steps need."""
        return step_requirements(self.interface.steps)

    def to_json(self) -> dict[str, object]:
        """Everything of it that reaches the image."""
        return {
            "interface": self.interface.to_json(),
            "files": {name: str(digest) for name, _, digest in self.files},
            "cases": {case.name: str(Digest.of(write_case(case))) for case in self.cases},
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Around:
    """What lies beside a graph to make it plain: interface.json (the converter's, or the user's own) and handler.py."""

    source: ModelSource
    onnx: OnnxModel
    interface: Interface | None
    handler: Handler | None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that the plain model's outputs may have."""
        named = self.handler.spec.outputs if self.handler else ()
        own = self.interface.signature.outputs if self.interface else ()
        return tuple(tensor.name for tensor in (*named, *own))

    def whole(self, graph: Signature, served: Signature) -> Interface | None:
        """The interface with the handler's functions in it, None where there is neither. Raises InterfaceInvalid."""
        return with_handler(self.interface, self.handler, graph, served) if self.handler else self.interface

    def files(self, interface: Interface) -> Iterator[tuple[str, Path, Digest]]:
        """Raises StepFileMissing."""
        places = {name: self.onnx.source.locate(PurePosixPath(name)) for name in interface.files}
        if self.handler:
            places |= {path.name: self.source.locate(path) for path in self.handler.files}
        for name, place in sorted(places.items()):
            if not place.is_file():
                raise StepFileMissing(path=name)
            yield name, place, Digest.of_file(place)


def find_around(source: ModelSource, manifest: ModelManifest, onnx: OnnxModel, graph: Signature, host: Host) -> Around:
    """Raises InterfaceInvalid, and the errors of builder/model/handler.py."""
    handler = read_handler(source, manifest.handler)
    if handler is None and source.find(HANDLER):
        neither = f"{HANDLER} defines neither preprocess nor postprocess: it is not used"
        host.events.emit(Warned(message=neither, hint="docs/handler.md says what it has to look like"))
    content = onnx.source.locate(FILE).read_bytes() if onnx.source.find(FILE) else None
    interface = parse_interface(content, graph) if content is not None else None
    return Around(source=source, onnx=onnx, interface=interface, handler=handler)


def plain_model(
    around: Around, interface: Interface, manifest: ModelManifest, given: tuple[GoldenCase, ...]
) -> PlainModel:
    """``given`` are the user's own cases; without any, they are generated. Raises StepFileMissing."""
    return PlainModel(
        interface=interface,
        files=tuple(around.files(interface)),
        cases=given or generate_plain_cases(interface, manifest, around.onnx.samples(manifest.renames)),
        requirements=around.handler.requirements if around.handler else (),
        is_converted=around.onnx.is_converted and around.handler is None,
    )
