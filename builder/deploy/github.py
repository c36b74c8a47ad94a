"""A GitHub Actions workflow that builds a fleet, one job for each model (docs.github.com, workflow syntax)."""

from __future__ import annotations

from collections.abc import Sequence

from builder.deploy.documents import Document
from builder.oci.platform import Platform
from builder.plan.fleet import PlannedMember

_RUNNER = "ubuntu-24.04"
_RUNS = Platform(os="linux", architecture="amd64")
_EMULATORS = "sudo apt-get update && sudo apt-get install -y --no-install-recommends qemu-user-static"
_PYTHON = "3.11"
_NAMESPACES = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
"""Ubuntu 24.04 keeps user namespaces from ordinary users; mbuild's sandbox and its test of the image need them."""


def github_workflow(members: Sequence[PlannedMember], version: str) -> Document:
    """``version`` is mbuild's; members are all for the same platforms. Values of the matrix reach the shell through
    variables, never through its text."""
    platforms = members[0].platforms
    options = " ".join(members[0].options)
    foreign = any(platform != _RUNS for platform in platforms)
    emulators = [{"name": "Install what tests images of other platforms", "run": _EMULATORS}] if foreign else []
    matrix = [{"name": each.name, "model": each.path, "target": each.target, "tag": each.tag} for each in members]
    build = {
        "name": "Build, test and push",
        "run": f'mbuild build "$MODEL" --target "$TARGET" {options + " " if options else ""}--tag "$TAG" --push',
        "env": {
            "MODEL": "${{ matrix.model }}",
            "TARGET": "${{ matrix.target }}",
            "TAG": "${{ matrix.tag }}",
            "MBUILD_REGISTRY": members[0].registry,
            "MBUILD_REGISTRY_USERNAME": "${{ secrets.REGISTRY_USERNAME }}",
            "MBUILD_REGISTRY_PASSWORD": "${{ secrets.REGISTRY_PASSWORD }}",
        },
    }
    steps = [
        {"uses": "actions/checkout@v4", "with": {"lfs": True, "persist-credentials": False}},
        {"uses": "actions/setup-python@v5", "with": {"python-version": _PYTHON}},
        {
            "name": "Keep mbuild's cache between runs",
            "uses": "actions/cache@v4",
            "with": {
                "path": "~/.cache/mbuild",
                "key": "mbuild-${{ matrix.name }}-${{ github.sha }}",
                "restore-keys": "mbuild-${{ matrix.name }}-\nmbuild-\n",
            },
        },
        {"name": "Let mbuild make namespaces", "run": _NAMESPACES},
        *emulators,
        {"name": "Install mbuild", "run": f"pip install mbuild=={version}"},
        build,
    ]
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
                "steps": steps,
            }
        },
    }
