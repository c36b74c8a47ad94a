"""A GitHub Actions workflow that builds a fleet, one job for each model (docs.github.com, workflow syntax). A job uses
the action of mbuild's repository, which knows what a runner needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from builder.deploy.documents import Document
from builder.errors import UsageError
from builder.plan.fleet import PlannedMember

_RUNNER = "ubuntu-24.04"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ACTION = re.compile(rf"{_NAME}/{_NAME}(/[^@\s]+)?@\S+|\./\S*")


class MalformedAction(UsageError):
    code = "malformed-action"
    message = "{text!r} does not name an action"
    hint = "write it as OWNER/REPOSITORY@REF: the repository that has mbuild, and a tag, a branch or a commit of it"


def github_workflow(members: Sequence[PlannedMember], action: str) -> Document:
    """``action`` is where mbuild's is; members are all for the same platforms. Raises MalformedAction."""
    if not _ACTION.fullmatch(action):
        raise MalformedAction(text=action)
    platforms = ",".join(map(str, members[0].platforms))
    matrix = [{"name": each.name, "model": each.path, "target": each.target, "tag": each.tag} for each in members]
    build = {
        "uses": action,
        "with": {
            "model": "${{ matrix.model }}",
            "target": "${{ matrix.target }}",
            **({"platforms": platforms} if platforms else {}),
            "tags": "${{ matrix.tag }}",
            "push": True,
            "username": "${{ secrets.REGISTRY_USERNAME }}",
            "password": "${{ secrets.REGISTRY_PASSWORD }}",
        },
    }
    return {
        "name": "models",
        "on": {"push": {"branches": ["main"]}, "workflow_dispatch": {}},
        "permissions": {"contents": "read"},
        "jobs": {
            "build": {
                "name": "${{ matrix.name }} (${{ matrix.target }})",
                "runs-on": _RUNNER,
                "timeout-minutes": 60,
                "strategy": {"fail-fast": False, "matrix": {"include": matrix}},
                "steps": [
                    {"uses": "actions/checkout@v6", "with": {"lfs": True, "persist-credentials": False}},
                    build,
                ],
            }
        },
    }
