"""Engines of TensorRT-RTX: for which GPUs they are made, for which sizes of inputs, and what an image says of them.

Pure. A compute capability is written as NVIDIA does (8.6); ``--sm`` takes 86, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from builder.canonical import content_key
from builder.errors import UsageError
from builder.model.golden import GoldenCase
from builder.model.manifest import DimRange
from builder.model.signature import Signature
from builder.oci.digest import Digest

INDEX = "index.json"
SCHEMA = 1
"""Of the index that lies beside the engines in an image (builder/serve/models/engine_files.py reads it)."""
RUNTIME = "tensorrt-rtx"
FULL = "tensorrt"
"""What engines are of, and what makes them of the graph when a server starts."""

OFFERED = ("8.6", "8.9", "12.0", "12.1")
USUAL = ("8.6", "8.9", "12.0")
"""GeForce RTX 30, 40 and 50, and the workstation cards of the same generations; 12.1 is the GB10 of desktops."""

BATCH_ROWS = 32
"""Rows of a batch that an engine takes at least: as many as the server puts together on a GPU."""

_NO_CODE = "TensorRT-RTX has no code for it"
_REASONS = {
    "7.5": "TensorRT-RTX compiles a part of all operators for it, and its execution provider does not run on it",
    "8.0": "TensorRT-RTX compiles for it, but its execution provider does not run on it",
    "9.0": f"it is a GPU of data centres, and {_NO_CODE}",
    "10.0": f"it is a GPU of data centres, and {_NO_CODE}",
    "10.3": f"it is a GPU of data centres, and {_NO_CODE}",
}


class CapabilityRefused(UsageError):
    code = "capability-refused"
    message = "--sm {given}: {reason}"
    hint = "engines are made for {known}; --target cuda12 and cuda13 serve other GPUs, and --sm none packs no engine"


def parse_capabilities(text: str) -> tuple[str, ...]:
    """``86,8.9`` as ("8.6", "8.9"), in rising order; ``none`` as nothing. Raises CapabilityRefused."""
    if text.strip() == "none":
        return ()
    found = {_capability(part.strip()) for part in text.split(",")}
    return tuple(sorted(found, key=_number))


def _capability(text: str) -> str:
    match = re.fullmatch(r"(?:sm_?)?(\d{1,2}?)\.?(\d)", text, re.IGNORECASE | re.ASCII)
    capability = f"{match[1]}.{match[2]}" if match else ""
    if capability not in OFFERED:
        raise CapabilityRefused(given=text or "(empty)", reason=_refusal(capability), known=", ".join(OFFERED))
    return capability


def _refusal(capability: str) -> str:
    if not capability:
        return "that is no compute capability, which is written as 86 or 8.6"
    older = f"it is older than 7.5, and {_NO_CODE}"
    return _REASONS.get(capability, older if _number(capability) < (7, 5) else _NO_CODE)


def _number(capability: str) -> tuple[int, ...]:
    return tuple(map(int, capability.split(".")))


@dataclass(frozen=True, kw_only=True, slots=True)
class InputSizes:
    """The shapes that an engine takes of one input, by its name in the graph: ``opt`` is what it is tuned for."""

    name: str
    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]

    def to_json(self) -> dict[str, object]:
        return {"min": list(self.min), "opt": list(self.opt), "max": list(self.max)}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Range:
    min: int
    opt: int
    max: int


def input_sizes(
    signature: Signature, dims: Iterable[DimRange], cases: Sequence[GoldenCase], rows: int = 0
) -> tuple[InputSizes, ...]:
    """The sizes of each input that has dynamic dims, in the names of ``signature`` and ``cases``.

    A dim that model.yaml has under ``dims`` takes what that says; any other the sizes in the golden cases, the usual
    one being that of most cases. A batch begins at 1 and ends no earlier than at ``rows`` (0: BATCH_ROWS)."""
    ranges, known = _seen(signature, cases), {bounds.name: bounds for bounds in dims}
    batches = {spec.shape[0] for spec in signature.inputs if spec.shape and isinstance(spec.shape[0], str)}
    for dim, seen in ranges.items():
        if dim in known:
            ranges[dim] = _stated(known[dim], seen)
        elif dim in batches:
            ranges[dim] = _Range(min=1, opt=seen.opt, max=max(seen.max, rows or BATCH_ROWS))
    return tuple(
        InputSizes(
            name=spec.name,
            min=tuple(dim if isinstance(dim, int) else ranges[dim].min for dim in spec.shape),
            opt=tuple(dim if isinstance(dim, int) else ranges[dim].opt for dim in spec.shape),
            max=tuple(dim if isinstance(dim, int) else ranges[dim].max for dim in spec.shape),
        )
        for spec in signature.inputs
        if any(isinstance(dim, str) for dim in spec.shape)
    )


def _seen(signature: Signature, cases: Sequence[GoldenCase]) -> dict[str, _Range]:
    """What the cases have of each dynamic dim; 1 where there is no case."""
    sizes: dict[str, list[int]] = {}
    for spec in signature.inputs:
        for axis, dim in enumerate(spec.shape):
            if isinstance(dim, str):
                found = [case.inputs[spec.name].shape[axis] for case in cases if spec.name in case.inputs]
                sizes.setdefault(dim, []).extend(size for size in found if size)
    return {dim: _range(found or [1]) for dim, found in sizes.items()}


def _range(sizes: list[int]) -> _Range:
    """Of sizes that are equally frequent the largest is the usual one."""
    usual = max(Counter(sizes).items(), key=lambda item: (item[1], item[0]))[0]
    return _Range(min=min(sizes), opt=usual, max=max(sizes))


def _stated(bounds: DimRange, seen: _Range) -> _Range:
    """``opt`` of a range that the model's own file tells is no usual size, but its bound."""
    most = bounds.max if bounds.max is not None else max(seen.max, bounds.opt)
    usual = bounds.opt if bounds.is_stated else min(max(seen.opt, bounds.min), most)
    return _Range(min=bounds.min, opt=usual, max=most)


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineFile:
    """An engine for one capability: where its bytes lie, and ``graph``, the ONNX model around it."""

    capability: str
    path: Path
    digest: Digest
    size: int
    graph: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Engines:
    """What goes beside a model's graph: ``files`` in rising order of capability, ``version`` of what compiled them,
    ``sizes`` in the names of the graph, ``precision`` (fp32, fp16, int8). ``model`` is a key of the graph with its
    weights, where engines are made of it later."""

    version: str
    precision: str
    sizes: tuple[InputSizes, ...]
    files: tuple[EngineFile, ...]
    runtime: str = RUNTIME
    model: str = ""

    @property
    def digests(self) -> tuple[tuple[str, str], ...]:
        """By capability: what a lock says of them."""
        return tuple((one.capability, str(one.digest)) for one in self.files)

    @property
    def key(self) -> str:
        """Of everything that lies beside the graph."""
        graphs = [str(Digest.of(one.graph)) for one in self.files]
        return content_key({"index": self.to_json(), "graphs": graphs})

    def to_json(self) -> dict[str, object]:
        """The index in an image."""
        return {
            "schema": SCHEMA,
            "runtime": self.runtime,
            "version": self.version,
            "precision": self.precision,
            "inputs": {one.name: one.to_json() for one in self.sizes},
            "engines": [
                {
                    "capability": one.capability,
                    "graph": f"{engine_name(self.version, one.capability)}.onnx",
                    "engine": f"{engine_name(self.version, one.capability)}.engine",
                    "digest": str(one.digest),
                    "size": one.size,
                }
                for one in self.files
            ],
            **({"model": self.model} if self.model else {}),
        }


def engine_name(version: str, capability: str) -> str:
    """Its file in the image, without its ending: ``1.7.1.116-sm86``."""
    return f"{version}-sm{capability.replace('.', '')}"
