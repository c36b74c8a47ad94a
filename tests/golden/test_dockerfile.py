"""The rendered Dockerfile, and what its quoting does to awkward values."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.platform import Platform
from builder.oci.reference import PinnedReference
from builder.plan.image import ConfigPatch, Healthcheck, ImagePlan, LayerRole, UpstreamBase
from builder.plan.layering import plan_layers
from builder.render.dockerfile import TemplateFailed, render_dockerfile


def file(path: str, size: int) -> FileEntry:
    return FileEntry(path=PurePosixPath(path), kind=EntryKind.FILE, mode=0o644, digest=Digest.of(b"x"), size=size)


PLAN = ImagePlan(
    platform=Platform(os="linux", architecture="amd64"),
    base=None,
    layers=plan_layers(
        {
            LayerRole.BASE: [file("/usr/bin/python3.13", 46_000_000)],
            LayerRole.RUNTIME: [file("/opt/mbuild/runtime/numpy/__init__.py", 76_000_000)],
            LayerRole.SERVER: [file("/opt/mbuild/server/mbuild_serve/__init__.py", 90_000)],
        },
        {"digits": [file("/models/digits/1/model.onnx", 150_000)]},
    ),
    config=ConfigPatch(
        env=(("PATH", "/usr/bin"), ("QUOTED", 'a "b" $c \\d')),
        entrypoint=("/usr/bin/python3.13", "-m", "mbuild_serve"),
        cmd=("serve",),
        user="10001:10001",
        workdir="/",
        ports=(8000,),
        labels=(
            ("dev.mbuild.parity", '{"a $b \\\\d":{"cases":3}}'),
            ("org.opencontainers.image.title", "digits"),
            ("org.opencontainers.image.version", "1.0.0"),
        ),
        healthcheck=Healthcheck(test=("/usr/bin/python3.13", "-m", "mbuild_serve", "health")),
    ),
    created="2026-09-12T00:00:00Z",
    annotations=(),
)


def test_golden_dockerfile(golden: Callable[[str, str], None]) -> None:
    golden("Dockerfile", render_dockerfile(PLAN))


def test_golden_dockerfile_on_an_upstream_base(golden: Callable[[str, str], None]) -> None:
    reference = PinnedReference(registry="registry.example", repository="python", digest=Digest.of(b"base"))
    base = UpstreamBase(reference=reference, layers=(), diff_ids=(), config=b"{}")
    golden("Dockerfile.upstream", render_dockerfile(replace(PLAN, base=base, layers=PLAN.layers[1:])))


def test_there_is_no_run_and_no_frontend_line() -> None:
    lines = render_dockerfile(PLAN).splitlines()
    assert not [line for line in lines if re.match(r"(?i)\s*run\b|#\s*syntax=", line)]


def test_a_users_template_comes_first(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.j2").write_text("FROM scratch\nLABEL mine={{ title | quoted }}\n")
    assert render_dockerfile(PLAN, tmp_path) == 'FROM scratch\nLABEL mine="digits 1.0.0"\n'


def test_a_template_that_fails_is_named(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile.j2").write_text("FROM {{ nothing.here }}\n")
    with pytest.raises(TemplateFailed, match=r"Dockerfile\.j2"):
        render_dockerfile(PLAN, tmp_path)
