"""Triton as mbuild packs it, with models of a test's own.

The image is the real one (base, runtime and server layers of a plan for ``--server triton``); only its model layer is
made here, from folders as ``onnx_models.place`` writes them for the minimal server. Nothing but namespaces is needed.
The runner publishes one port: HTTP at ``triton_serving(...)``, gRPC at ``triton_serving(..., port=GRPC)``.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from http.client import HTTPException
from pathlib import Path, PurePosixPath

from tritonclient.utils import InferenceServerException

from builder.assemble.embedded import EmbeddedAssembler
from builder.formats.onnx import read_model
from builder.host import Host
from builder.host.trees import TreeWriter, merged
from builder.model.golden import read_case
from builder.model.interface import parse_interface
from builder.model.manifest import ModelManifest, Renames
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import ModelArtifact, list_model
from builder.oci.config import ImageConfig
from builder.oci.digest import Digest
from builder.oci.platform import Platform
from builder.pipeline.build import plan_model
from builder.pipeline.converted import limits_of
from builder.plan.image import LayerRole
from builder.plan.layering import plan_layers
from builder.plan.spec import BuildSpec
from builder.probe.embedded import EmbeddedRunner, RunningSandbox
from builder.probe.replay import wait_until_ready
from builder.probe.runner import Limits, ProbedImage
from builder.servers import PackedModel, PackedPlain
from builder.servers.triton import TritonServer
from builder.targets import find_target
from tests.support.servers import ask
from tests.support.waiting import until

ROOT = Path(__file__).resolve().parents[2]
PLATFORM = Platform.parse("linux/amd64")
HTTP, GRPC, METRICS = 8000, 8001, 8002


def triton_image(models: Path, place: Path, host: Host) -> ProbedImage:
    """The image with the model folders below ``models``; ``place`` is a directory of the test's own. Raises
    NotForTriton."""
    digits = Path(shutil.copytree(ROOT / "examples" / "digits", place / "digits"))
    spec = BuildSpec(
        model=digits,
        target="cpu",
        server="triton",
        platform=PLATFORM,
        base=None,
        lock=place / "mbuild.lock",
        locked=False,
    )
    (planned,) = plan_model(spec, host).images
    writer = TreeWriter(place / "models")
    for folder in sorted(path for path in models.iterdir() if path.is_dir()):
        TritonServer().write_model(writer, packed_model(folder))
    tree = writer.finish()
    kept = tuple(layer for layer in planned.plan.layers if layer.role is not LayerRole.MODEL)
    plan = replace(planned.plan, layers=(*kept, *plan_layers({}, {"all": tree.entries})))
    made = EmbeddedAssembler(host).assemble(plan, merged([planned.tree, tree]), place / "layout")
    return ProbedImage(layout=made.layout, manifest=made.manifest, config=made.config)


def packed_model(folder: Path) -> PackedModel:
    """A model folder as the pipeline would hand it over; with an interface.json beside its graph it is a plain model,
    and the graph is NAME-tensors."""
    source, entry = list_model(folder), PurePosixPath("1/model.onnx")
    graph = read_model(source, entry, limits_of(find_target("cpu", PLATFORM, "triton")))
    described = json.loads((folder / "mbuild.json").read_text()) if (folder / "mbuild.json").is_file() else {}
    renames = described.get("renames", {})
    manifest = ModelManifest(
        name=folder.name,
        version=described.get("version", "1"),
        description=described.get("description", ""),
        renames=Renames(
            inputs=tuple((old, new) for new, old in renames.get("inputs", {}).items()),
            outputs=tuple((old, new) for new, old in renames.get("outputs", {}).items()),
        ),
    )
    local = folder / "1" / "model.onnx"
    plain = None
    if (folder / "1" / "interface.json").is_file():
        interface = parse_interface((folder / "1" / "interface.json").read_bytes(), graph.signature)
        files = [(name, folder / "1" / name) for name in interface.files]
        digests = tuple((name, path, Digest.of_file(path)) for name, path in files)
        plain = PackedPlain(interface=interface, files=digests, cases=())
    return PackedModel(
        manifest=manifest,
        signature=_declared(described["signature"]) if "signature" in described else graph.signature,
        artifact=ModelArtifact(files=((PurePosixPath("model.onnx"), local, Digest.of_file(local)),), opset=17),
        cases=tuple(map(read_case, sorted((folder / "golden").glob("*.npz")))),
        plain=plain,
    )


def _declared(value: dict[str, list[dict[str, object]]]) -> Signature:
    sides = {
        side: tuple(
            TensorSpec(name=str(each["name"]), datatype=Datatype(str(each["datatype"])), shape=tuple(each["shape"]))  # type: ignore[arg-type]
            for each in value[side]
        )
        for side in ("inputs", "outputs")
    }
    return Signature(**sides)


@contextmanager
def running_triton(image: ProbedImage, host: Host, *, port: int = HTTP) -> Iterator[RunningSandbox]:
    """The container once it is ready; ``port`` of it is reached at its ``address``."""
    limits = Limits(port=port)
    with closing(EmbeddedRunner(host).start(image, limits)) as running:
        if port == HTTP:
            wait_until_ready(running, limits, host.clock)
        elif port == GRPC:
            _wait_for_grpc(running)
        else:
            until(lambda: _has_metrics(running), seconds=60)
        yield running


def _has_metrics(running: RunningSandbox) -> bool:
    assert running.state().running, running.log()
    try:
        return ask("{}:{}".format(*running.address), "GET", "/metrics").status == 200
    except (OSError, HTTPException):
        return False


def _wait_for_grpc(running: RunningSandbox, seconds: float = 60) -> None:
    """The client's own waiting is for a channel; a server that only starts refuses it at once."""
    from tritonclient.grpc import InferenceServerClient  # its library is of no use to tests that ask over HTTP

    deadline = time.monotonic() + seconds
    with closing(InferenceServerClient("{}:{}".format(*running.address))) as client:
        while True:
            try:
                if client.is_server_ready(client_timeout=5):
                    return
                reason = "not ready"
            except InferenceServerException as error:
                reason = str(error)
            assert running.state().running and time.monotonic() < deadline, f"{reason}\n{running.log()}"
            time.sleep(0.05)


def with_flags(image: ProbedImage, *flags: str) -> ProbedImage:
    """The image as ``docker run IMAGE FLAGS`` starts it."""
    config = json.loads(image.config.raw)
    config["config"]["Cmd"] = list(flags)
    return replace(image, config=ImageConfig(raw=json.dumps(config).encode()))


@contextmanager
def triton_serving(models: Path, place: Path, host: Host, *, port: int = HTTP) -> Iterator[str]:
    """The address of a Triton that is ready with the models; see the module."""
    with running_triton(triton_image(models, place, host), host, port=port) as running:
        yield "{}:{}".format(*running.address)
