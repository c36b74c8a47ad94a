"""What an image that is about to be planned will say of itself."""

from __future__ import annotations

from dataclasses import replace

from builder.pipeline.face import MOST_LABEL, packages_that_fit
from tests.support.faces import FACE


def test_no_label_is_longer_than_an_engine_takes() -> None:
    few, many = ({f"package-{number}": "1.0-1" for number in range(count)} for count in (100, 300))
    assert packages_that_fit(few) == few
    assert packages_that_fit(many) == {}
    for packages in (few, many):
        labels = replace(FACE, packages=packages_that_fit(packages)).to_labels()
        assert all(len(key) + len(value) <= MOST_LABEL for key, value in labels.items())
