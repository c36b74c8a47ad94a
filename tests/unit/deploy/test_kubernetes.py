"""Documents of every server and target, held against Kubernetes' own schemas."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from builder.deploy.documents import to_yaml
from builder.deploy.kubernetes import Wanted, kubernetes_documents
from builder.deploy.served import Served
from builder.deploy.sizing import size
from tests.support.deployed import SERVED

VERSIONS = ("1.33", "1.36")


def written(served: Served, wanted: Wanted) -> dict[str, dict[str, Any]]:
    """By kind, as Kubernetes reads them."""
    documents = list(kubernetes_documents(served, size(served), wanted))
    read = list(yaml.safe_load_all(to_yaml(documents)))
    assert read == documents
    return {each["kind"]: each for each in read}


@pytest.mark.parametrize("case", SERVED)
def test_kubernetes_takes_them(case: str) -> None:
    for document in written(SERVED[case], Wanted(namespace="prod")).values():
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
