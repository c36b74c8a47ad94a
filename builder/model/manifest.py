"""``model.yaml``: what a user may say about a model beyond what the model says itself.

The file is optional; ``ModelManifest`` has all defaults in place. Its grammar is builder/schemas/model.schema.json;
what a schema cannot say (min <= opt <= max, an SPDX licence) is checked here. All problems are raised at once.
Names in ``tolerance.outputs`` and in golden cases are those that clients see, after ``renames``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from builder.errors import SpecError
from builder.model.bounds import NO_BOUNDS, Bounds, Quantize
from builder.model.golden import Tolerance
from builder.model.handler import HandlerSpec
from builder.model.metric import USUAL_CASES, MetricSettings
from builder.model.problems import Problem, listing
from builder.model.schema_check import check_schema, is_nan_free
from builder.model.server_settings import USUAL_SERVER, ServerSettings
from builder.model.signature import Datatype, Signature, TensorSpec
from builder.model.source import ModelSource
from builder.model.yaml_text import YamlProblem, parse_mapping

DEFAULT_VERSION = "0.1.0"
_DEFAULT_TOLERANCE = Tolerance()
USUAL_TOLERANCES: Mapping[Datatype, Tolerance] = MappingProxyType(
    {
        # Half precision keeps 11 bits; a sum of a few hundred products loses three of them.
        Datatype.FP16: Tolerance(absolute=1e-3, relative=1e-2),
        # Not tighter, since an FP64 output may be cast from sums in FP32.
        Datatype.FP64: Tolerance(absolute=1e-6, relative=1e-5),
    }
)
"""Where the datatype of an output calls for another tolerance than FP32, and model.yaml gives none."""

EDGES = ("batches", "longest", "zeros", "extremes", "missing", "infinite", "empty", "unknown")
"""What ``golden.edges`` may name (builder/model/edges.py makes them)."""
_NAMES = (PurePosixPath("model.yaml"), PurePosixPath("model.yml"))
_OF_AN_IMAGE = {"models", "name", "version", "description", "licence", "labels", "server"}


class ManifestInvalid(SpecError):
    code = "manifest-invalid"
    message = "{path} is wrong:\n{problems}"
    hint = "docs/model-yaml.md lists every key with its meaning; the whole file is optional"


class ManifestUnreadable(SpecError):
    code = "manifest-unreadable"
    message = "{path} is not YAML that mbuild reads: {reason}"
    hint = "write it as a mapping, one `key: value` on a line; the file is optional"


class TwoManifests(SpecError):
    code = "two-manifests"
    message = "there are both model.yaml and model.yml in {path}"
    hint = "keep model.yaml and remove the other"


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Renames:
    """(name in the graph, name that clients see) of the tensors that have two names."""

    inputs: Pairs = ()
    outputs: Pairs = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModuleSpec:
    """The code of a model whose file holds weights alone: a class of ``file``, and the keywords of its call."""

    file: PurePosixPath
    name: str
    arguments: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        return {"file": str(self.file), "class": self.name, "arguments": dict(self.arguments)}


@dataclass(frozen=True, kw_only=True, slots=True)
class DimRange:
    """The sizes that a dynamic dim may take; ``opt`` is the usual one, ``max`` None where there is no bound.
    ``is_stated`` is False where not model.yaml but the model's own file says it."""

    name: str
    min: int
    opt: int
    max: int | None
    is_stated: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerances:
    """The tolerance of every output: ``default``, or the one that ``outputs`` has for it. ``is_stated``: the default
    is model.yaml's own, and stands for every datatype."""

    default: Tolerance = _DEFAULT_TOLERANCE
    outputs: tuple[tuple[str, Tolerance], ...] = ()
    is_stated: bool = False

    def of(self, output: str) -> Tolerance:
        return dict(self.outputs).get(output, self.default)

    def usual(self, default: Tolerance) -> Tolerances:
        """The same with another default, where model.yaml gives none."""
        return self if self.is_stated else replace(self, default=default)

    def fitted(self, signature: Signature) -> Tolerances:
        """The same with the usual tolerance of its datatype for each output that model.yaml says nothing of."""
        named = dict(self.outputs)
        usual = {
            spec.name: USUAL_TOLERANCES[spec.datatype]
            for spec in signature.outputs
            if spec.datatype in USUAL_TOLERANCES and spec.name not in named and not self.is_stated
        }
        return replace(self, outputs=tuple(sorted({**usual, **named}.items())))

    def to_json(self) -> dict[str, object]:
        outputs = {name: _tolerance_json(tolerance) for name, tolerance in self.outputs}
        return {**_tolerance_json(self.default), "outputs": outputs}


def _tolerance_json(tolerance: Tolerance) -> dict[str, object]:
    return {"absolute": tolerance.absolute, "relative": tolerance.relative}


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenSettings:
    """``paths`` are patterns (empty: all of golden/); ``seed`` and ``count`` are for generated cases; ``edges`` are
    asked beside all cases of a model that is converted."""

    paths: tuple[str, ...] = ()
    seed: int = 0
    count: int = 3
    edges: tuple[str, ...] = EDGES


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizeSettings:
    """What model.yaml asks for, and what is enough."""

    mode: Quantize = Quantize.NONE
    bounds: Bounds = NO_BOUNDS


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelManifest:
    """model.yaml with its defaults. ``inputs`` are for sources that do not say what they take (a TorchScript file), in
    the order of the call. ``models`` are patterns of directories where the file lies beside several models, and then
    speaks of the image that they go into. ``path`` is the file it came from, None where there is none; ``format``,
    ``file`` and ``signature`` are empty where the directory decides."""

    name: str
    version: str = DEFAULT_VERSION
    description: str = ""
    licence: str = ""
    format: str = ""
    file: str = ""
    inputs: tuple[TensorSpec, ...] = ()
    signature: str = ""
    module: ModuleSpec | None = None
    handler: HandlerSpec | None = None
    renames: Renames = Renames()
    dims: tuple[DimRange, ...] = ()
    tolerance: Tolerances = Tolerances()
    golden: GoldenSettings = GoldenSettings()
    quantize: QuantizeSettings = QuantizeSettings()
    metric: MetricSettings | None = None
    server: ServerSettings = USUAL_SERVER
    labels: Pairs = ()
    models: tuple[str, ...] = ()
    path: PurePosixPath | None = None


def slug(text: str) -> str:
    """``text`` as a legal repository component: lower case, runs of anything else become one hyphen."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:128].rstrip("-") or "model"


def read_manifest(source: ModelSource) -> ModelManifest:
    """The manifest of a model directory. Raises ManifestInvalid, ManifestUnreadable or TwoManifests."""
    found = [path for path in _NAMES if source.find(path)]
    if len(found) > 1:
        raise TwoManifests(path=source.directory)
    if not found:
        return ModelManifest(name=slug(source.directory.name))
    return parse_manifest(source.locate(found[0]).read_bytes(), found[0], slug(source.directory.name))


def parse_manifest(content: bytes, path: PurePosixPath, default_name: str) -> ModelManifest:
    """The manifest in ``content``; ``path`` is for messages."""
    try:
        value = parse_mapping(content)
    except YamlProblem as error:
        raise ManifestUnreadable(path=path, reason=error) from error
    problems = check_schema(value, "model") or tuple(_semantic_problems(value))
    if problems:
        raise ManifestInvalid(path=path, problems=listing(problems))
    return _manifest(value, path, default_name)


def _semantic_problems(value: Mapping[str, Any]) -> Iterator[Problem]:
    if "models" in value:
        of_one = [*sorted(value.keys() - _OF_AN_IMAGE), *["server.batching"] * ("batching" in value.get("server", {}))]
        for key in of_one:
            yield Problem(key, "`models` names several, and each has its own: say it in their own model.yaml")
    if "licence" in value:
        try:
            canonicalize_license_expression(value["licence"])
        except InvalidLicenseExpression:
            text = f"{value['licence']!r} is not an SPDX licence expression, such as Apache-2.0 or MIT"
            yield Problem("licence", text)
    for name, bounds in value.get("dims", {}).items():
        sizes = [(key, bounds[key]) for key in ("min", "opt", "max") if key in bounds]
        if [size for _, size in sizes] != sorted(size for _, size in sizes):
            yield Problem(
                f"dims.{name}", ", ".join(f"{key} {size}" for key, size in sizes) + " are not in rising order"
            )
    batching = value.get("server", {}).get("batching", {})
    for rows in batching.get("preferred", ()):
        if 0 < batching.get("max_batch", 0) < rows:
            yield Problem("server.batching.preferred", f"{rows} is more than max_batch, {batching['max_batch']}")
    for side, names in value.get("renames", {}).items():
        for new in sorted({new for new in names.values() if list(names.values()).count(new) > 1}):
            yield Problem(f"renames.{side}", f"two tensors are renamed to {new!r}")
    if not is_nan_free(value):
        yield Problem("", "a number is not finite (.nan or .inf)")


def _manifest(value: Mapping[str, Any], path: PurePosixPath, default_name: str) -> ModelManifest:
    renames = value.get("renames", {})
    licence = canonicalize_license_expression(value["licence"]) if "licence" in value else ""
    return ModelManifest(
        name=value.get("name", default_name),
        version=value.get("version", DEFAULT_VERSION),
        description=value.get("description", ""),
        licence=licence,
        format=value.get("format", ""),
        file=value.get("file", ""),
        inputs=_tensors(value.get("inputs", {})),
        signature=value.get("signature", ""),
        module=_module(value["module"]) if "module" in value else None,
        handler=_handler(value["handler"]) if "handler" in value else None,
        renames=Renames(inputs=_pairs(renames.get("inputs", {})), outputs=_pairs(renames.get("outputs", {}))),
        dims=tuple(_dim_range(name, bounds) for name, bounds in sorted(value.get("dims", {}).items())),
        tolerance=_tolerances(value.get("tolerance", {})),
        golden=_golden(value.get("golden", {})),
        quantize=_quantize(value.get("quantize", {})),
        metric=_metric(value["metric"]) if "metric" in value else None,
        server=ServerSettings.from_json(value.get("server", {})),
        labels=_pairs(value.get("labels", {})),
        models=tuple(value.get("models", ())),
        path=path,
    )


def _tensors(given: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    return tuple(
        TensorSpec(name=name, datatype=Datatype(one["datatype"]), shape=tuple(one["shape"]))
        for name, one in given.items()
    )


def _handler(given: Mapping[str, Any]) -> HandlerSpec:
    """``requirements`` are a list, or the name of a file."""
    requirements = given.get("requirements", [])
    listed = [] if isinstance(requirements, str) else requirements
    return HandlerSpec(
        file=PurePosixPath(given.get("file", "handler.py")),
        inputs=_tensors(given.get("inputs", {})),
        outputs=_tensors(given.get("outputs", {})),
        files=tuple(given.get("files", ())),
        requirements=tuple(listed),
        requirements_file=requirements if isinstance(requirements, str) else "",
    )


def _golden(given: Mapping[str, Any]) -> GoldenSettings:
    listed = {name: tuple(item) for name, item in given.items() if name in ("paths", "edges")}
    return GoldenSettings(**{**given, **listed})


def _module(given: Mapping[str, Any]) -> ModuleSpec:
    file = PurePosixPath(given["file"])
    return ModuleSpec(file=file, name=given["class"], arguments=given.get("arguments", {}))


def _quantize(given: Mapping[str, Any]) -> QuantizeSettings:
    bounds = {key: float(value) for key, value in given.items() if key != "mode"}
    return QuantizeSettings(mode=Quantize(given.get("mode", Quantize.NONE)), bounds=Bounds(**bounds))


def _metric(given: Mapping[str, Any]) -> MetricSettings:
    return MetricSettings(**{**given, "cases": tuple(given.get("cases", USUAL_CASES))})


def _pairs(names: Mapping[str, str]) -> Pairs:
    return tuple(sorted(names.items()))


def _dim_range(name: str, bounds: Mapping[str, int]) -> DimRange:
    least, most = bounds.get("min", 1), bounds.get("max")
    return DimRange(name=name, min=least, opt=bounds.get("opt", most or least), max=most)


def _tolerances(value: Mapping[str, Any]) -> Tolerances:
    default = Tolerance(
        absolute=float(value.get("absolute", _DEFAULT_TOLERANCE.absolute)),
        relative=float(value.get("relative", _DEFAULT_TOLERANCE.relative)),
    )
    outputs = (
        (
            name,
            Tolerance(
                absolute=float(own.get("absolute", default.absolute)),
                relative=float(own.get("relative", default.relative)),
            ),
        )
        for name, own in sorted(value.get("outputs", {}).items())
    )
    return Tolerances(default=default, outputs=tuple(outputs), is_stated=bool({"absolute", "relative"} & value.keys()))
