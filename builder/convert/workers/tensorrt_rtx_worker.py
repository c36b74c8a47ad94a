"""Compiles an ONNX model to an engine of TensorRT-RTX; no GPU and no driver is needed for that.

Request: ``model`` (path), ``output`` (directory to write ``engine`` into), ``capability`` (as in 8.6), ``profile``
(``min``, ``opt`` and ``max`` shapes by the name of each input with dynamic dims) and ``progress`` (a file that is told
``done total phase`` meanwhile). Value: ``version``. Kinds of failure: unsupported, not-compiled.

The compiler orders some of what it names by addresses (measured: one convolution in 8 bits came in six versions). So it
runs without randomised addresses, where the kernel allows to turn them off; then the same request gives equal bytes.
"""

import ctypes
import os
import re
import sys
from pathlib import Path
from typing import Any

ADDR_NO_RANDOMIZE = 0x0040000
ASK = 0xFFFFFFFF
"""personality(2)"""


def without_random_addresses() -> None:
    """Begin again in this process without them; a kernel or a container that refuses it changes nothing."""
    libc = ctypes.CDLL(None, use_errno=True)
    personality = libc.personality(ASK)
    if personality == -1 or personality & ADDR_NO_RANDOMIZE:
        return
    if libc.personality(personality | ADDR_NO_RANDOMIZE) != -1:
        os.execv(sys.executable, [sys.executable, "-s", *sys.argv])  # noqa: S606 - this program again


if __name__ == "__main__":
    without_random_addresses()

import tensorrt_rtx_bindings as trt  # noqa: E402 - after the new beginning
from worker_io import Failure, respond  # noqa: E402


class Log(trt.ILogger):  # type: ignore[misc]
    """Keeps what it is told of errors, which the builder says nowhere else."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []

    def log(self, severity: Any, message: str) -> None:
        if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
            self.errors.append(" ".join(message.split()))


class Phases(trt.IProgressMonitor):  # type: ignore[misc]
    """Writes the state of the outermost phase, and the name of the one that runs."""

    def __init__(self, path: Path) -> None:
        trt.IProgressMonitor.__init__(self)
        self.path = path
        self.open: list[str] = []
        self.done, self.total = 0, 0

    def phase_start(self, name: str, parent: str | None, steps: int) -> None:
        if parent is None:
            self.done, self.total = 0, steps
        self.open.append(name)
        self.write()

    def step_complete(self, name: str, step: int) -> bool:
        if self.open and name == self.open[0]:
            self.done = step + 1
            self.write()
        return True

    def phase_finish(self, name: str) -> None:
        if name in self.open:
            self.open.remove(name)

    def write(self) -> None:
        part = self.path.with_suffix(".part")
        part.write_text(f"{self.done} {self.total} {self.open[-1] if self.open else ''}", encoding="utf-8")
        part.replace(self.path)


def run(request: dict[str, Any]) -> dict[str, Any]:
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(request["model"]):
        raise Failure("unsupported", in_words(parser))
    require_no_shape_inputs(network)
    config = builder.create_builder_config()
    config.progress_monitor = Phases(Path(request["progress"]))
    config.set_flag(trt.BuilderFlag.DISABLE_TIMING_CACHE)
    config.clear_flag(trt.BuilderFlag.TF32)  # the golden cases were answered in FP32; TF32 keeps three digits of it
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{request['capability'].replace('.', '')}"), 0)
    if request["profile"]:
        config.add_optimization_profile(profile_of(builder, request["profile"]))
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        raise Failure("not-compiled", log.errors[-1][:600] if log.errors else "TensorRT-RTX gave no reason")
    (Path(request["output"]) / "engine").write_bytes(memoryview(engine))
    return {"version": trt.__version__}


def profile_of(builder: Any, shapes: dict[str, dict[str, list[int]]]) -> Any:
    profile = builder.create_optimization_profile()
    for name, sizes in shapes.items():
        profile.set_shape(name, tuple(sizes["min"]), tuple(sizes["opt"]), tuple(sizes["max"]))
    return profile


def require_no_shape_inputs(network: Any) -> None:
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        if tensor.is_shape_tensor:
            raise Failure("unsupported", f"the numbers in input {tensor.name!r} are the shape of something")


def in_words(parser: Any) -> str:
    """What the parser says of the first node that it does not take, or of whatever it stumbled over."""
    errors = [parser.get_error(number) for number in range(parser.num_errors)]
    if not errors:
        return "the parser gave no reason"
    error = next((each for each in errors if each.node() >= 0), errors[0])
    code = str(error.code()).rpartition(".")[2].lower().replace("_", " ")
    said = " ".join(error.desc().split()).removeprefix("Assertion failed: ")[:400]
    if quoted := re.fullmatch(r'.* && "(.+)"', said):  # a condition in C++, and the words for people
        said = quoted[1]
    reason = code if said in ("", "false") else f"{code}: {said}"
    if error.node() < 0:
        return f"{error.file()}: {reason}"
    return f"node {error.node()} {error.node_name()!r} ({error.node_operator()}): {reason}"


if __name__ == "__main__":
    respond(run, ("tensorrt-rtx-cu13-libs",))
