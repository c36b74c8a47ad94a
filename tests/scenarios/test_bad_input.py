"""What a user reads when something is wrong: one test for each, with the whole complaint in a golden file."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from builder.host import Host
from builder.model.golden import GoldenCase, write_case
from tests.scenarios.conftest import Complaint, Mbuild
from tests.support import onnx_models
from tests.support.certificates import make_certificate
from tests.support.golden import Golden
from tests.support.models import save, save_external, save_mlp
from tests.support.registries import SecuredRegistry
from tests.support.tls import tls_listener

QUIET = ("--no-load", "--no-test")


def empty_directory(model: Path) -> None:
    model.mkdir()


def two_formats(model: Path) -> None:
    save_mlp(model / "model.onnx")
    header = b"{}"
    (model / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)


def truncated_onnx(model: Path) -> None:
    save_mlp(model / "model.onnx")
    content = (model / "model.onnx").read_bytes()
    (model / "model.onnx").write_bytes(content[: len(content) // 2])


def unsupported_opset(model: Path) -> None:
    graph = onnx_models.mlp()
    graph.opset_import[0].version = 27
    save(graph, model / "model.onnx")


def escaping_external_data(model: Path) -> None:
    model.mkdir()
    save_external(model / "model.onnx", "../outside.bin")


def wrong_golden_output(model: Path) -> None:
    save_mlp(model / "model.onnx")
    (model / "golden").mkdir()
    inputs = {"x": np.zeros((1, 4), np.float32)}
    case = GoldenCase(name="wrong", inputs=inputs, outputs={"p": np.full((1, 3), 7, np.float32)})
    (model / "golden" / "wrong.npz").write_bytes(write_case(case))


def several_mistakes_in_model_yaml(model: Path) -> None:
    save_mlp(model / "model.onnx")
    (model / "model.yaml").write_text(
        "nmae: x\nversion: one\nserver:\n  max_body_bytes: many\ndims: {n: {min: 3, max: 1}}\n"
    )


@pytest.mark.parametrize(
    ("make", "status"),
    [
        (empty_directory, 4),
        (two_formats, 4),
        (truncated_onnx, 4),
        (unsupported_opset, 4),
        (escaping_external_data, 4),
        (wrong_golden_output, 6),
        (several_mistakes_in_model_yaml, 3),
    ],
)
def test_golden_bad_models(
    mbuild: Mbuild, complaint: Complaint, golden: Golden, tmp_path: Path, make: object, status: int
) -> None:
    assert callable(make)
    make(tmp_path / "model")
    done = mbuild(tmp_path / "model", *QUIET)
    assert (done.returncode, done.stdout) == (status, "")
    golden(f"cli/{make.__name__.replace('_', '-')}.txt", complaint(done))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown-target", ("--target", "cuda99")),
        ("server-not-offered", ("--server", "flask")),
        ("malformed-reference", ("-t", "Registry:5000/UPPER:1")),
        ("push-needs-tag", ("--push",)),
        ("foreign-platform-name", ("--platform", "windows/amd64")),
    ],
)
def test_golden_bad_options(
    mbuild: Mbuild, complaint: Complaint, golden: Golden, digits: Path, name: str, words: tuple[str, ...]
) -> None:
    done = mbuild(digits, *QUIET, *words)
    assert (done.returncode, done.stdout) == (2, "")
    golden(f"cli/{name}.txt", complaint(done))


@pytest.mark.registry
def test_golden_wrong_password(
    mbuild: Mbuild, complaint: Complaint, golden: Golden, digits: Path, registry: SecuredRegistry
) -> None:
    wrong = {**registry.environ, "MBUILD_REGISTRY_PASSWORD": "wrong"}
    layout = mbuild.json(digits, *QUIET)["files"]["layout"]
    done = mbuild("push", layout, f"{registry.name}/digits:1", **wrong)
    assert done.returncode == 10
    text = complaint(done)
    assert registry.password not in text
    golden("cli/wrong-password.txt", text.replace(registry.name, "<REGISTRY>"))


def test_golden_expired_certificate(
    mbuild: Mbuild, complaint: Complaint, golden: Golden, digits: Path, tmp_path: Path
) -> None:
    made = make_certificate(tmp_path, days=-1)
    layout = mbuild.json(digits, *QUIET)["files"]["layout"]
    with tls_listener(made.certificate, made.key) as port:
        done = mbuild("push", layout, f"localhost:{port}/digits:1", SSL_CERT_FILE=str(made.certificate))
    assert done.returncode == 10
    golden("cli/expired-certificate.txt", complaint(done).replace(str(port), "<PORT>"))


@pytest.mark.registry
def test_nothing_is_pushed_when_the_test_fails(
    mbuild: Mbuild, digits: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    """A golden case that the server does not take: its body limit is smaller than the request."""
    manifest = digits / "model.yaml"
    manifest.write_text(manifest.read_text() + "server:\n  max_body_bytes: 1024\n")
    reference = registry.fresh("untested")
    done = mbuild(digits, "--no-load", "-t", str(reference), "--push", **registry_environ)
    assert done.returncode == 9, done.stderr
    assert "1024" in done.stderr
    missing = mbuild("test", str(reference), **registry_environ)
    assert missing.returncode == 10, "the tag must not exist"


def namespaced(*flags: str) -> tuple[str, ...]:
    return ("unshare", "--user", "--map-root-user", *flags)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux namespaces")
def test_golden_no_network(complaint: Complaint, golden: Golden, digits: Path, tmp_path: Path) -> None:
    (digits / "mbuild.lock").unlink(missing_ok=True)
    offline = Mbuild(cache=tmp_path / "cache", prefix=namespaced("--net"))
    done = offline(digits, *QUIET, PIP_INDEX_URL="https://index.invalid/simple", UV_DEFAULT_INDEX="")
    assert done.returncode == 7, done.stderr
    text = re.sub(r"/simple/[a-z-]+/", "/simple/<WHEEL>/", complaint(done))  # whichever was asked for first
    golden("cli/no-network.txt", text)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux namespaces")
def test_golden_full_disk(
    host: Host, complaint: Complaint, golden: Golden, digits: Path, tmp_path: Path, mbuild: Mbuild
) -> None:
    """A cache on a file system of 24 MB: the build says so, and what it left is all whole."""
    mbuild.json(digits, *QUIET)
    cache = tmp_path / "small"
    cache.mkdir()
    script = (
        'mount -t tmpfs -o size=24m none "$0" && "$@"; status=$?; '
        '"$1" cache verify; find "$0" -name ".part-*" -not -path "*/uv/*"; exit $status'
    )
    done = Mbuild(cache=cache, prefix=(*namespaced("--mount"), "sh", "-c", script, str(cache)))(digits, *QUIET)
    assert done.returncode == 8, done.stderr
    assert done.stdout == "everything is as it was made\n", "nothing half-written counts as whole, nothing is left over"
    golden("cli/full-disk.txt", complaint(done).replace(str(cache), "<CACHE>"))
    shutil.rmtree(cache)
    assert json.loads((digits / "mbuild.lock").read_text())["schema"] == 1
