from __future__ import annotations

import numpy as np

from builder.model.generate import MAX_ELEMENTS, generate_cases
from builder.model.golden import GoldenCase, write_case
from builder.model.manifest import DimRange, GoldenSettings, ModelManifest
from builder.model.signature import Datatype, Dim, Signature, TensorSpec
from builder.oci.digest import Digest

DEFAULT = GoldenSettings()


def signature(*inputs: tuple[str, Datatype, tuple[Dim, ...]]) -> Signature:
    specs = tuple(TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in inputs)
    return Signature(inputs=specs, outputs=())


def generate(wanted: Signature, *dims: DimRange, golden: GoldenSettings = DEFAULT) -> tuple[GoldenCase, ...]:
    return generate_cases(wanted, ModelManifest(name="m", dims=dims, golden=golden))


def shapes(cases: tuple[GoldenCase, ...], name: str) -> list[tuple[int, ...]]:
    return [case.inputs[name].shape for case in cases]


ALL = signature(*((datatype.value, datatype, ("batch", 6)) for datatype in Datatype if datatype is not Datatype.BF16))


def test_the_bytes_are_these_for_ever() -> None:
    cases = generate(ALL, golden=GoldenSettings(seed=3))
    content = b"".join(write_case(case) for case in cases)
    assert Digest.of(content).hex == "c3bd26c60e474e95e1ca1cfc9e9f6e1c8c68428abc436ab7132353ce260b304c"


def test_the_seed_counts() -> None:
    one, other = generate(ALL), generate(ALL, golden=GoldenSettings(seed=1))
    assert not np.array_equal(one[0].inputs["FP32"], other[0].inputs["FP32"])


def test_names_values_and_types() -> None:
    cases = generate(ALL)
    assert [case.name for case in cases] == ["generated-1", "generated-2", "generated-3", "generated-zeros"]
    for case in cases:
        for name, array in case.inputs.items():
            if array.dtype.kind == "f":
                assert np.isfinite(array).all()
                assert np.abs(array.astype(np.float64)).max() <= 1
            elif array.dtype.kind in "iu":
                assert set(np.unique(array)) <= {0, 1}, name
    assert all(not array.any() for name, array in cases[-1].inputs.items() if name != "BYTES")
    assert set(cases[-1].inputs["BYTES"].ravel()) == {b""}


def test_batches_are_shared_by_all_first_axes() -> None:
    cases = generate(signature(("a", Datatype.FP32, ("n", 3)), ("b", Datatype.FP32, ("b.0", "length", 1))))
    assert shapes(cases, "a") == [(1, 3), (2, 3), (7, 3), (1, 3)]
    assert shapes(cases, "b") == [(1, 16, 1), (2, 16, 1), (7, 16, 1), (1, 16, 1)]


def test_one_name_is_one_size_wherever_it_stands() -> None:
    cases = generate(signature(("a", Datatype.FP32, ("n", "m")), ("b", Datatype.FP32, ("m", "n"))))
    for case in cases:
        assert case.inputs["a"].shape == case.inputs["b"].shape[::-1]


def test_images_are_large_enough_to_be_halved() -> None:
    cases = generate(signature(("image", Datatype.UINT8, ("n", 3, "h", "w"))))
    assert shapes(cases, "image")[1] == (2, 3, 64, 64)
    assert len(np.unique(cases[0].inputs["image"])) > 200


def test_sound_has_at_least_one_window() -> None:
    cases = generate(signature(("wave", Datatype.FP32, ("n", "samples")), ("ids", Datatype.INT64, ("n", "length"))))
    assert shapes(cases, "wave")[1] == (2, 1600)
    assert shapes(cases, "ids")[1] == (2, 16)


def test_bounds_of_model_yaml() -> None:
    wanted = signature(("a", Datatype.FP32, ("n", "m")))
    cases = generate(wanted, DimRange(name="n", min=2, opt=2, max=4), DimRange(name="m", min=3, opt=5, max=9))
    assert shapes(cases, "a") == [(2, 3), (2, 5), (2, 9), (2, 3)]
    cases = generate(wanted, DimRange(name="n", min=8, opt=8, max=None))
    assert {shape[0] for shape in shapes(cases, "a")} == {8}


def test_sizes_that_would_fill_the_memory_shrink() -> None:
    wanted = signature(("a", Datatype.FP32, (1, "m")))
    cases = generate(wanted, DimRange(name="m", min=1, opt=4, max=MAX_ELEMENTS + 1))
    assert shapes(cases, "a") == [(1, 1), (1, 4), (1, 1), (1, 1)]


def test_no_inputs_and_scalars() -> None:
    assert generate(signature())[0].inputs == {}
    assert generate(signature(("a", Datatype.INT64, ())))[0].inputs["a"].shape == ()
    assert generate(signature(("a", Datatype.FP32, (0, 4))))[0].inputs["a"].size == 0


def test_count() -> None:
    cases = generate(signature(("a", Datatype.FP32, ("n",))), golden=GoldenSettings(count=5))
    assert shapes(cases, "a") == [(1,), (2,), (7,), (1,), (2,), (1,)]
