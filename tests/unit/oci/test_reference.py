"""What somebody means who names an image or a directory."""

from __future__ import annotations

import pytest

from builder.oci.reference import names_image


@pytest.mark.parametrize(
    ("text", "is_image"),
    [
        ("localhost:5000/digits", True),
        ("localhost/digits", True),
        ("registry.example/team/digits", True),
        ("team/digits:1.0.0", True),
        ("digits:1", True),
        ("digits@sha256:" + "0" * 64, True),
        ("digits", False),
        ("models/digits", False),
        ("./digits", False),
        ("../digits", False),
        ("/models/digits", False),
    ],
)
def test_a_registry_a_tag_or_a_digest_makes_it_an_image(text: str, is_image: bool) -> None:
    assert names_image(text) is is_image
