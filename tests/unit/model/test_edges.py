"""Edges: how golden cases are bent, and what must agree there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from builder.model.edges import LONGEST, edge_cases, with_ranges
from builder.model.generate import Samples, generate_cases
from builder.model.golden import Array, GoldenCase, Tolerance
from builder.model.manifest import EDGES, USUAL_TOLERANCES, DimRange, GoldenSettings, ModelManifest, Tolerances
from builder.model.parity import ParityReport, TensorComparison
from builder.model.parity_report import Edge, EdgeDiffers, EdgeReport, Verification, compare_edge
from builder.model.schema_check import check_schema
from builder.model.signature import Datatype, Dim, Signature, TensorSpec


def signature(*inputs: tuple[str, Datatype, tuple[Dim, ...]]) -> Signature:
    specs = tuple(TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in inputs)
    return Signature(inputs=specs, outputs=())


TABLE = signature(("x", Datatype.FP32, ("batch", 4)), ("ids", Datatype.INT64, ("batch", "words")))


def edges(
    wanted: Signature, *given: GoldenCase, samples: Samples | None = None, **manifest: object
) -> dict[str, GoldenCase]:
    said = ModelManifest(name="m", **manifest)  # type: ignore[arg-type]
    cases = given or generate_cases(wanted, said, samples or {})
    return {case.name.removeprefix("edge-"): case for case in edge_cases(wanted, said, cases, samples or {})}


def given(origin: str = "golden/a.npz", **inputs: Array) -> GoldenCase:
    return GoldenCase(name="a", inputs=inputs, outputs={}, origin=origin)


def test_generated_cases_need_no_further_batches_or_zeros_of_their_own() -> None:
    found = edges(TABLE)
    assert set(found) == {"zeros", "extremes", "missing", "infinite"}
    assert found["zeros"].inputs["x"].shape == (7, 4)  # the generated ones are of one row


def test_batches_that_no_case_has() -> None:
    mine = given(x=np.ones((2, 4), np.float32), ids=np.array([[3, 1], [2, 9]]))
    found = edges(TABLE, mine, golden=GoldenSettings(edges=("batches",)))
    assert set(found) == {"batch-1", "batch-7"}
    assert found["batch-7"].inputs["ids"].tolist() == [[3, 1], [2, 9]] * 3 + [[3, 1]]
    bounded = DimRange(name="batch", min=1, opt=1, max=4)
    assert set(edges(TABLE, mine, golden=GoldenSettings(edges=("batches",)), dims=(bounded,))) == {"batch-1"}
    assert edges(signature(("x", Datatype.FP32, (2, 4))), replace(mine, inputs={"x": mine.inputs["x"]})).keys() == {
        *("zeros", "extremes", "missing", "infinite")
    }


def test_integers_stay_and_floats_are_bent() -> None:
    mine = given(x=np.full((3, 4), 0.5, np.float32), ids=np.array([[3], [2], [1]]))
    found = edges(TABLE, mine)
    assert {case.inputs["ids"][0, 0] for name, case in found.items() if name != "zeros"} == {3}
    assert set(np.unique(found["extremes"].inputs["x"])) == {-1000, 0.5, 1000}
    assert np.isnan(found["missing"].inputs["x"]).sum() == 4
    assert set(np.unique(found["infinite"].inputs["x"])) == {-np.inf, 0.5, np.inf}
    assert all(case.inputs["x"].dtype == np.float32 for case in found.values())


def test_half_precision_is_not_overflown() -> None:
    found = edges(signature(("x", Datatype.FP16, ("n", 3))))
    assert np.abs(found["extremes"].inputs["x"]).max() == 100


def test_pixels() -> None:
    found = edges(signature(("x", Datatype.UINT8, ("n", 3, 4, 4))))
    assert set(np.unique(found["extremes"].inputs["x"])) == {0, 255}


def test_text_is_emptied_and_unknown() -> None:
    wanted = signature(("city", Datatype.BYTES, ("batch", 1)), ("age", Datatype.FP32, ("batch", 1)))
    found = edges(wanted, samples={"city": (b"Oslo",), "age": (18.0, 60.0)})
    assert set(found) == {"empty", "unknown"}  # ages are of a known set
    assert set(found["empty"].inputs["city"].ravel()) == {b""}
    assert b"Oslo" not in found["unknown"].inputs["city"]


def test_the_longest_is_for_the_smallest_batch() -> None:
    mine = given(x=np.ones((2, 4), np.float32), ids=np.array([[3, 1], [2, 9]]))
    found = edges(TABLE, mine, dims=(DimRange(name="words", min=1, opt=2, max=5),))
    assert found["longest"].inputs["ids"].tolist() == [[3, 1, 3, 1, 3]]
    found = edges(TABLE, mine, dims=(DimRange(name="words", min=1, opt=2, max=1 << 20),))
    assert found["longest"].inputs["ids"].shape == (1, LONGEST)


def test_edges_by_choice() -> None:
    assert edges(TABLE, golden=GoldenSettings(edges=())) == {}
    assert set(edges(TABLE, golden=GoldenSettings(edges=("missing",)))) == {"missing"}
    assert edges(signature()) == {}


def test_every_edge_of_model_yaml_is_made() -> None:
    wanted = signature(("x", Datatype.FP32, ("batch", "long")), ("t", Datatype.BYTES, ("batch",)))
    mine = given(x=np.ones((3, 2), np.float32), t=np.array([b"a", b"b", b"c"], dtype=object))
    found = edges(wanted, mine, dims=(DimRange(name="long", min=1, opt=2, max=3),))
    assert {name.partition("-")[0].replace("batch", "batches") for name in found} == set(EDGES)


def test_ranges_of_the_model_itself() -> None:
    bounds = DimRange(name="batch", min=2, opt=2, max=4)
    manifest = with_ranges(
        ModelManifest(name="m", dims=(bounds,)), TABLE, {"batch": (1, 8), "words": (3, 32), "z": (2, 3)}
    )
    assert manifest.dims == (bounds, DimRange(name="words", min=3, opt=3, max=32, is_stated=False))
    shapes = [case.inputs["ids"].shape for case in generate_cases(TABLE, manifest)]
    assert shapes == [(2, 16)] * 4  # a usual size; the bounds themselves are for edges
    assert with_ranges(ModelManifest(name="m"), TABLE, {"words": (1, None)}).dims == ()


def test_tolerances_follow_the_datatype() -> None:
    outputs = tuple(
        TensorSpec(name=d.value, datatype=d, shape=(1,)) for d in (Datatype.FP16, Datatype.FP32, Datatype.FP64)
    )
    fitted = Tolerances().fitted(Signature(inputs=(), outputs=outputs))
    assert [fitted.of(d) for d in ("FP16", "FP64")] == [
        USUAL_TOLERANCES[Datatype.FP16],
        USUAL_TOLERANCES[Datatype.FP64],
    ]
    assert fitted.of("FP32") == Tolerances().default
    loose = Tolerance(absolute=1e-2)
    assert Tolerances().usual(loose).fitted(Signature(inputs=(), outputs=outputs)).of("FP32") == loose
    stated = replace(Tolerances(), is_stated=True)
    assert stated.usual(loose) == stated
    assert stated.fitted(Signature(inputs=(), outputs=outputs)) == stated


def answered(**outputs: object) -> GoldenCase:
    return GoldenCase(name="edge", inputs={}, outputs={name: np.asarray(value) for name, value in outputs.items()})


def compared(kind: str, source: GoldenCase | None, onnx: GoldenCase | None, reason: str = "") -> EdgeReport:
    return compare_edge(Edge(name=f"edge-{kind}", source=source, onnx=onnx, reason=reason), Tolerances(), "Torch")


def test_what_the_source_refuses_is_reported() -> None:
    report = compared("missing", None, answered(y=[1.0]), "Input X contains NaN.")
    assert (report.outcome, report.reason) == ("not-answered-by-the-source", "Input X contains NaN.")


def test_what_is_not_finite_is_not_compared() -> None:
    nan, one = answered(y=[np.nan, np.inf], label=[0, 1]), answered(y=[0.0, 1.0], label=[5, 5])
    assert compared("missing", nan, one).reason == "its answer is not finite"
    half = compared("missing", answered(y=[np.nan, 1.0], label=[0, 1]), answered(y=[7.0, 1.0], label=[5, 5]))
    assert [tensor.name for tensor in half.tensors] == ["y"]
    assert compared("missing", answered(label=[0]), answered(label=[1])).reason  # a label drawn from NaN


@pytest.mark.parametrize(
    ("kind", "source", "onnx"),
    [
        ("missing", answered(y=[np.nan, 1.0]), answered(y=[0.0, 1.1])),
        ("missing", answered(y=[0.5], label=[1]), answered(y=[0.5], label=[2])),
        ("zeros", answered(label=[1]), answered(label=[2])),
        ("extremes", answered(y=[1.0]), answered(y=[np.nan])),
        ("empty", answered(y=[1.0]), answered(y=[1.0, 2.0])),
    ],
)
def test_what_the_source_answers_must_be_equal(kind: str, source: GoldenCase, onnx: GoldenCase) -> None:
    with pytest.raises(EdgeDiffers) as caught:
        compared(kind, source, onnx)
    assert caught.value.exit_code == 6
    assert kind not in caught.value.advice.partition("[")[2].partition("]")[0].split(", ")
    assert "golden: {edges: [batches" in caught.value.advice


def test_an_answer_that_onnxruntime_does_not_have() -> None:
    with pytest.raises(EdgeDiffers, match=r"there are other batches \(batch-7\).*onnxruntime does not answer: no"):
        compared("batch-7", answered(y=[1.0]), None, "no")


def test_sums_of_large_numbers_may_cancel() -> None:
    assert compared("extremes", answered(y=[1e4, 0.0]), answered(y=[1e4, 0.5])).tensors[0].passed
    with pytest.raises(EdgeDiffers):
        compared("extremes", answered(y=[1e4, 0.0]), answered(y=[1e4, 5.0]))


def test_the_verdict_has_no_figures() -> None:
    def verified(off: float, python: str, guard: str) -> Verification:
        tensor = TensorComparison(name="y", elements=1, failing=0, max_absolute=off, max_relative=off)
        edge = EdgeReport(name="edge-zeros", tensors=(tensor,))
        refused = EdgeReport(name="edge-missing", reason=f"no ({off})")
        return Verification(
            framework="Torch",
            runtime="1.31.1",
            tolerance=Tolerances(),
            golden=ParityReport(cases=()),
            edges=(edge, refused),
            versions={"torch": "2", "python": python},
            guard=guard,
        )

    one, other = verified(1e-7, "3.11.7", "namespaces"), verified(2e-7, "3.13.1", "bubblewrap")
    assert one.verdict() == other.verdict()
    assert one.to_json() != other.to_json()
    assert check_schema(one.verdict(), "parity") == ()
    assert one.agreeing_edges == 1
