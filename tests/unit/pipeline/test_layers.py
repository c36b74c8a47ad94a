"""How many layers an image may have, and how large one may be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builder.events import Warned
from builder.pipeline.image import LARGEST_LAYER, MOST_LAYERS, TooManyLayers, check_layers
from tests.support.hosts import RecordedEvents, real_host
from tests.support.images import small_plan


def test_an_image_of_too_many_layers_is_refused(tmp_path: Path) -> None:
    plan, _ = small_plan(tmp_path)
    host = real_host(tmp_path / "store", {})
    most = replace(plan, layers=(plan.layers[0],) * MOST_LAYERS)
    check_layers(most, host)
    with pytest.raises(TooManyLayers, match="128 layers"):
        check_layers(replace(most, layers=(*most.layers, plan.layers[1])), host)


@pytest.mark.parametrize(
    ("size", "told"),
    [(3_000_000_000, ""), (6_000_000_000, "must carry 10 MB/s"), (LARGEST_LAYER + 1, "10.0 GB: GHCR takes no more")],
)
def test_a_layer_that_is_hard_to_push_is_told(tmp_path: Path, size: int, told: str) -> None:
    plan, _ = small_plan(tmp_path)
    host = real_host(tmp_path / "store", {})
    (file, *_) = [entry for entry in plan.layers[1].entries if entry.digest]
    huge = replace(plan.layers[1], entries=(replace(file, size=size),))
    check_layers(replace(plan, layers=(huge,)), host)
    assert isinstance(host.events, RecordedEvents)
    said = [event.message for event in host.events.events if isinstance(event, Warned)]
    assert [told in message for message in said] == [True] * bool(told)
