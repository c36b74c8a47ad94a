"""A model with the answers to its golden cases: what the verify step gives, and the stage step packs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from builder.host import Host
from builder.model.engines import Engines
from builder.model.golden import GoldenCase
from builder.model.manifest import ModelManifest
from builder.model.parity import ParityReport
from builder.model.parity_report import Verification
from builder.pipeline.model import LoadedModel
from builder.pipeline.quantize import Quantization
from builder.pipeline.verify import answer, answer_plain


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweredModel:
    """A model as it is packed, with the golden cases of its graph and of the plain model around it, and what the gate
    found about both; ``quantization`` is None where nothing of that kind was asked for."""

    model: LoadedModel
    cases: tuple[GoldenCase, ...]
    plain: tuple[GoldenCase, ...]
    parity: Verification
    plain_parity: ParityReport
    quantization: Quantization | None = None

    @property
    def manifest(self) -> ModelManifest:
        return self.model.manifest

    def quantized(self, choice: Quantization | None) -> AnsweredModel:
        """The same after the quantize step: another model has answers of its own."""
        if choice is None:
            return self
        cases, plain = (choice.cases, choice.plain) if choice.cases else (self.cases, self.plain)
        return replace(self, model=choice.model, cases=cases, plain=plain, quantization=choice)

    def compiled(self, engines: Engines | None) -> AnsweredModel:
        """The same with what was compiled of its graph."""
        return replace(self, model=replace(self.model, engines=engines)) if engines else self


def answer_model(model: LoadedModel, host: Host) -> AnsweredModel:
    """Raises what builder/pipeline/verify.py raises."""
    cases, parity = answer(model, host)
    plain, plain_parity = answer_plain(model, host)
    return AnsweredModel(model=model, cases=cases, plain=plain, parity=parity, plain_parity=plain_parity)


def in_words(models: Sequence[AnsweredModel]) -> str:
    """How many cases and edges were answered, and agree."""
    asked = sum(len(one.cases) + len(one.plain) for one in models)
    agree = sum(len(one.parity.cases) + len(one.plain_parity.cases) for one in models)
    text = f"golden cases: {asked} answered by the source model{'s' * (len(models) > 1)}, {agree} agree"
    if edges := sum(len(one.parity.edges) for one in models):
        text += f"; edges: {sum(one.parity.agreeing_edges for one in models)} of {edges} answered, all agree"
    return text
