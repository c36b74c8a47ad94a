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


def test_a_layer_that_registries_refuse_is_told(tmp_path: Path) -> None:
    plan, _ = small_plan(tmp_path)
    host = real_host(tmp_path / "store", {})
    (file, *_) = [entry for entry in plan.layers[1].entries if entry.digest]
    huge = replace(plan.layers[1], entries=(replace(file, size=LARGEST_LAYER + 1),))
    check_layers(replace(plan, layers=(huge,)), host)
    assert isinstance(host.events, RecordedEvents)
    (told,) = host.events.events
    assert isinstance(told, Warned)
    assert "10.0 GB" in told.message
