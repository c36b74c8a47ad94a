"""The quantize step: the model in fewer bits, if it then still is the model and, with ``auto``, if it is faster here.

What is held against what: the quantised ONNX, as onnxruntime runs it, against what the source model answers (its own
framework, or the ONNX as it was). The golden cases in the image then have the quantised model's own answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from builder.convert import quantize as tools
from builder.convert.quantize import NotQuantizable
from builder.convert.reference import answer_cases
from builder.errors import ParityError, SpecError, UsageError
from builder.formats.onnx import read_model, stage_artifact
from builder.host import Host
from builder.model.bounds import AS_IT_WAS, USUAL, Quantize
from builder.model.cases import read_cases, read_labelled
from builder.model.golden import GoldenCase
from builder.model.manifest import GoldenSettings
from builder.model.metric import LABEL, MetricNotComputed, evaluate, loss
from builder.model.quantize import MODES, Variant, choose, measure_errors, replay_tolerances
from builder.model.renames import to_graph_names, to_served_names
from builder.model.source import ModelArtifact, ModelSource, list_model
from builder.pipeline.converted import ONNX_ENTRY, limits_of
from builder.pipeline.model import LoadedModel, with_artifact
from builder.pipeline.resolve import locked_quantize
from builder.pipeline.verify import answer, answer_plain, run_plain
from builder.plan.spec import BuildSpec
from builder.targets import Target
from builder.targets.lock import QuantizeChoice

LEAST_SAMPLES = 8
"""Rows of calibration; fewer give ranges that the next request leaves."""

_CALIBRATION = "calibration/*.npz"


class QuantizedDiffers(ParityError):
    code = "quantized-differs"
    message = "in {mode} the model is another one: {problem}"
    hint = (
        "nothing was built. Another mode? Or say in model.yaml what is enough: `quantize: {{mode: {mode}, error: 0.5}}`"
    )


class QuantizedEngine(UsageError):
    code = "quantized-engine"
    message = "an engine of TensorRT cannot be made of a model in {mode}"
    hint = "--quantize fp16, or int8-static (8 bits with QuantizeLinear and DequantizeLinear)"


class CalibrationMissing(SpecError):
    code = "calibration-missing"
    message = "int8-static measures activations with inputs of yours, and there are {count} samples of {least}"
    hint = "put typical inputs into calibration/NAME.npz (input:TENSOR arrays, as in golden cases), 100 samples or so"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantization:
    """What came of it: the chosen ``model`` with its answered ``cases`` (empty where it stays as it was; ``plain`` are
    those of the plain model), the ``variants`` that were looked at, and what the lock keeps."""

    model: LoadedModel
    cases: tuple[GoldenCase, ...]
    plain: tuple[GoldenCase, ...]
    variants: tuple[Variant, ...]
    choice: QuantizeChoice
    metric: str = ""

    @property
    def summary(self) -> str:
        """In a few words what was chosen and what that gave."""
        first, chosen = self.variants[0], next(one for one in self.variants if one.name == self.choice.chosen)
        if chosen is first:
            return f"{AS_IT_WAS}: no variant is faster here, or holds"
        words = f"{chosen.name}: {first.size / chosen.size:.1f} x smaller"
        if first.seconds and chosen.seconds:
            words += f", {first.seconds / chosen.seconds:.2f} x as fast here"
        return f"{words}, error {chosen.worst.error:.2g}" if chosen.worst else words

    def to_json(self) -> dict[str, object]:
        return {
            **self.choice.to_json(),
            "metric": self.metric or None,
            "variants": [v.to_json() for v in self.variants],
        }


def asked_mode(spec: BuildSpec, model: LoadedModel) -> Quantize:
    """What the command line asks for, else model.yaml."""
    return spec.convert.quantize or model.manifest.quantize.mode


def require_quantizable(mode: Quantize, target: Target) -> None:
    """Raises QuantizedEngine: other modes need operators of onnxruntime's own, and ``auto`` times this processor."""
    if target.is_compiled and mode not in (Quantize.NONE, Quantize.FP16, Quantize.INT8_STATIC):
        raise QuantizedEngine(mode=mode.value)


def quantize_model(
    spec: BuildSpec, source: ModelSource, model: LoadedModel, target: Target, host: Host
) -> Quantization:
    """The model as ``asked_mode`` wants it.

    ``auto`` takes what the lock has, if that still holds, and measures only where there is nothing. Raises
    QuantizedDiffers, QuantizedEngine, NotQuantizable, CalibrationMissing, MetricNotComputed, and what answering the
    cases raises.
    """
    asked = asked_mode(spec, model)
    require_quantizable(asked, target)
    (answers, _), (plain, _) = answer(model, host), answer_plain(model, host)
    quantizer = Quantizer(
        source=source,
        model=model,
        target=target,
        answers=answers,
        plain=plain,
        host=host,
        measures_again=spec.convert.measure_again,
    )
    if asked is not Quantize.AUTO:
        return quantizer.fixed(asked, asked.value, timed=True)
    locked = locked_quantize(spec, target, model.manifest.name)
    if locked and locked.asked == asked.value and not spec.convert.measure_again:
        try:
            return quantizer.fixed(asked, locked.chosen, timed=False)
        except (QuantizedDiffers, NotQuantizable, CalibrationMissing):
            if spec.locked:
                raise
    return quantizer.fastest(asked)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantizer:
    """Makes and judges variants of one model. ``answers`` are its golden cases as the source model answers them, and
    ``plain`` those of its plain model."""

    source: ModelSource
    model: LoadedModel
    target: Target
    answers: tuple[GoldenCase, ...]
    plain: tuple[GoldenCase, ...]
    host: Host
    measures_again: bool

    def fixed(self, asked: Quantize, mode: str, *, timed: bool) -> Quantization:
        """One mode and no other. Raises QuantizedDiffers, NotQuantizable, CalibrationMissing or MetricNotComputed."""
        if mode == AS_IT_WAS:
            return self._result(asked, AS_IT_WAS, (self._as_it_was(),), {})
        chosen = Quantize(mode)
        made = {mode: self._make(chosen)}
        first, variant = self._as_it_was(), self._judged(chosen, made[mode])
        if variant.problem:
            raise QuantizedDiffers(mode=mode, problem=variant.problem)
        variants = self._timed((first, variant), made) if timed else (first, variant)
        return self._result(asked, mode, variants, made)

    def fastest(self, asked: Quantize) -> Quantization:
        """All modes that fit, measured on this machine. Raises MetricNotComputed."""
        made: dict[str, ModelArtifact] = {}
        variants = [self._as_it_was()]
        for mode in MODES:
            try:
                made[mode.value] = self._make(mode)
            except (NotQuantizable, CalibrationMissing) as error:
                variants.append(Variant(name=mode.value, problem=str(error)))
                continue
            variants.append(self._judged(mode, made[mode.value]))
        timed = self._timed(tuple(variants), made)
        return self._result(asked, choose(timed), timed, made)

    def _make(self, mode: Quantize) -> ModelArtifact:
        calibration = self._calibration() if mode is Quantize.INT8_STATIC else ()
        made = tools.SYMMETRIC if mode is Quantize.INT8_STATIC and self.target.is_compiled else mode.value
        directory = list_model(tools.quantize(self.model.artifact, made, calibration, self.host))
        graph = read_model(directory, ONNX_ENTRY, limits_of(self.target))
        return stage_artifact(directory, graph, most_chunks=self.model.most_chunks)

    def _calibration(self) -> tuple[GoldenCase, ...]:
        manifest, signature = self.model.manifest, self.model.signature
        found = [case for case in self.model.cases if case.origin]
        if any(file.path.match(_CALIBRATION) for file in self.source.files):
            settings = GoldenSettings(paths=(_CALIBRATION,))
            found += read_cases(self.source, replace(manifest, golden=settings), signature)
        count = sum(max(array.shape[0] if array.ndim else 1 for array in case.inputs.values()) for case in found)
        if count < LEAST_SAMPLES:
            raise CalibrationMissing(count=count, least=LEAST_SAMPLES)
        return tuple(to_graph_names(case, manifest.renames) for case in found)

    def _run(self, artifact: ModelArtifact, cases: Sequence[GoldenCase]) -> tuple[GoldenCase, ...]:
        renames = self.model.manifest.renames
        asked = tuple(to_graph_names(case, renames) for case in cases)
        return tuple(to_served_names(case, renames) for case in answer_cases(artifact, asked, self.host))

    def _run_plain(self, artifact: ModelArtifact) -> tuple[GoldenCase, ...]:
        return run_plain(replace(self.model, artifact=artifact), self.plain, self.host)

    def _as_it_was(self) -> Variant:
        artifact = self.model.artifact
        return Variant(name=AS_IT_WAS, size=_size(artifact), metric=self._metric(artifact))

    def _judged(self, mode: Quantize, artifact: ModelArtifact) -> Variant:
        """Its errors and its metric, and what of them is too much."""
        asked = self.model.manifest.quantize.bounds
        bounds = asked.over(USUAL[mode])
        errors = measure_errors(self.answers, self._run(artifact, self.answers))
        errors += measure_errors(self.plain, self._run_plain(artifact))
        problems = [(one, one.problem(bounds, asked)) for one in errors]
        words = [f"output {one.name!r} has {text}" for one, text in sorted(problems, key=lambda p: -p[0].error) if text]
        metric, settings = self._metric(artifact), self.model.manifest.metric
        if metric is not None and settings is not None and bounds.loss is not None:
            before = self._metric(self.model.artifact) or 0.0
            if loss(settings.name, before, metric) > bounds.loss:
                words.append(f"{settings.name} is {metric:.4g} instead of {before:.4g} (loss at most {bounds.loss:g})")
        return Variant(name=mode.value, size=_size(artifact), errors=errors, metric=metric, problem="; ".join(words))

    def _metric(self, artifact: ModelArtifact) -> float | None:
        settings, signature = self.model.manifest.metric, self.model.signature
        if settings is None:
            return None
        output = settings.output or signature.outputs[0].name
        if output not in {one.name for one in signature.outputs} or (
            not settings.output and len(signature.outputs) > 1
        ):
            names = ", ".join(one.name for one in signature.outputs)
            raise MetricNotComputed(reason=f"`output` must be one of {names}")
        labelled = read_labelled(self.source, self.model.manifest, signature, LABEL)
        answered = self._run(artifact, [case for case, _ in labelled])
        return evaluate(settings.name, [case.outputs[output] for case in answered], [labels for _, labels in labelled])

    def _timed(self, variants: tuple[Variant, ...], made: dict[str, ModelArtifact]) -> tuple[Variant, ...]:
        cases = tuple(to_graph_names(case, self.model.manifest.renames) for case in self.model.cases)
        seconds = tools.measure({AS_IT_WAS: self.model.artifact, **made}, cases, self.host, again=self.measures_again)
        return tuple(replace(variant, seconds=seconds.get(variant.name)) for variant in variants)

    def _result(
        self, asked: Quantize, chosen: str, variants: tuple[Variant, ...], made: dict[str, ModelArtifact]
    ) -> Quantization:
        settings = self.model.manifest.metric
        choice = QuantizeChoice(asked=asked.value, chosen=chosen)
        model = replace(self.model, quantize=choice)
        cases: tuple[GoldenCase, ...] = ()
        plain: tuple[GoldenCase, ...] = ()
        if chosen in made:
            cases, plain = self._run(made[chosen], self.answers), self._run_plain(made[chosen])
            tolerance = replay_tolerances(Quantize(chosen), (*cases, *plain), model.manifest.tolerance)
            model = with_artifact(model, made[chosen], tolerance, choice)
        metric = settings.name if settings else ""
        return Quantization(model=model, cases=cases, plain=plain, variants=variants, choice=choice, metric=metric)


def _size(artifact: ModelArtifact) -> int:
    return sum(path.stat().st_size for _, path, _ in artifact.files)
