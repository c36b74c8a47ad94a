"""ModelPacks between us and another client of them, which holds each against the specification's schema: it reads ours,
and we read its."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from modelpack_client import ModelDescriptor, ModelLayer, ModelPackClient, ModelPackConfig, ModelTechnicalConfig

from builder.host import Host
from builder.oci.reference import Reference
from builder.pipeline.packages.existing import push_layout
from builder.pipeline.packages.listing import list_packages
from builder.pipeline.packages.modelpack import PackedModel, inspect_any
from builder.pipeline.packages.pull import FileNameMissing, pull_model
from builder.pipeline.packages.tag import tag_image
from builder.plan.spec import Attachment
from builder.registry.client import connect
from builder.registry.credentials import Purpose, acting_for
from tests.support.faces import FACE
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import AMD64, tiny_layout

pytestmark = pytest.mark.registry
WEIGHT = "application/vnd.cncf.model.weight.v1"
OTHERS = ModelPackConfig(
    descriptor=ModelDescriptor(name="theirs", version="2.0", licenses=("MIT", "Apache-2.0")),
    config=ModelTechnicalConfig(format="safetensors", param_size="7B", precision="float16"),
)


@pytest.fixture
def host(registry: SecuredRegistry, make_host: Callable[..., Host]) -> Host:
    return make_host(environ=registry.environ)


@pytest.fixture
def client(registry: SecuredRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelPackClient:
    """The other one, logged in; it keeps its password where we look for ours, in a home of its own."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(registry.ca))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    other = ModelPackClient(auth_backend="basic")
    other.login(registry.name, username=registry.user, password=registry.password, config_path=tmp_path / "login.json")
    return other


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def test_it_reads_ours(registry: SecuredRegistry, host: Host, client: ModelPackClient, tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, roles=("model", "weights"), labels=FACE.to_labels())
    pushed = push_layout(layout.path, registry.fresh("ours"), host, wanted=(Attachment.MODELPACK,))
    ours = pushed.attached[0].pushed.reference
    theirs = client.pull(str(ours), tmp_path / "theirs")
    assert theirs.config["descriptor"]["name"] == FACE.name
    pull_model(Reference(**_place(ours), digest=ours.digest), AMD64, tmp_path / "ours", host)
    assert files(tmp_path / "theirs") == files(tmp_path / "ours") != {}


def test_we_read_its(registry: SecuredRegistry, host: Host, client: ModelPackClient, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "tokens").mkdir(parents=True)
    for name in ("model.safetensors", "copy.safetensors"):
        (source / name).write_bytes(b"the same bytes")
    (source / "tokens/tokenizer.json").write_text("{}")
    (source / "rows.csv").write_text("1,2\n")
    reference = replace(registry.fresh("theirs"), tag="2.0")
    layers = [
        ModelLayer(source / "model.safetensors"),
        ModelLayer(source / "copy.safetensors"),
        ModelLayer(source / "tokens", media_type="application/vnd.cncf.model.weight.config.v1.tar+gzip"),
        ModelLayer(source / "rows.csv", media_type="application/vnd.cncf.model.dataset.v1.raw"),
    ]
    client.push(str(reference), layers=layers, config=OTHERS)
    pulled = pull_model(reference, AMD64, tmp_path / "pulled", host)
    there = files(tmp_path / "pulled")
    assert there == {name: content for name, content in files(source).items() if name != "rows.csv"}
    assert pulled.downloaded > 0
    packed = inspect_any(str(reference), AMD64, host)
    assert isinstance(packed, PackedModel)
    assert packed.said.licences == ("MIT", "Apache-2.0")
    assert [layer["path"] for layer in json.loads(json.dumps(packed.to_json()))["layers"]] == [
        "model.safetensors",
        "copy.safetensors",
        "tokens",
        "rows.csv",
    ]
    (entry,) = list_packages(f"{registry.name}/{reference.repository}", acting_for(registry.name, host))
    assert (entry.package, entry.remark) == (None, "ModelPack: theirs 2.0")


def test_a_file_without_a_name_is_refused(
    registry: SecuredRegistry, host: Host, client: ModelPackClient, tmp_path: Path
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"bytes")
    reference = registry.fresh("nameless")
    client.push(str(reference), layers=[ModelLayer(tmp_path / "model.safetensors")], config=OTHERS)
    own = acting_for(registry.name, host)
    registry_client = connect(reference, Purpose.PUSH, own)
    manifest = registry_client.fetch_manifest(reference.tag)
    value = json.loads(manifest.raw)
    del value["layers"][0]["annotations"]
    raw = json.dumps(value).encode()
    document = replace(manifest, raw=raw, descriptor=type(manifest.descriptor).of(raw, manifest.descriptor.media_type))
    registry_client.put_manifest(document, "nameless")
    with pytest.raises(FileNameMissing):
        pull_model(replace(reference, tag="nameless"), AMD64, tmp_path / "out", host)
    assert not (tmp_path / "out").exists()


def test_a_tag_may_name_it(registry: SecuredRegistry, host: Host, tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, roles=("server", "model"), labels=FACE.to_labels())
    pushed = push_layout(layout.path, registry.fresh("tagged", "1.0.0"), host, wanted=(Attachment.MODELPACK,))
    ours = pushed.attached[0].pushed.reference
    tag_image(Reference(**_place(ours), digest=ours.digest), "modelpack", host)
    entries = list_packages(f"{ours.registry}/{ours.repository}", acting_for(registry.name, host))
    assert [(entry.reference.tag, entry.remark) for entry in entries] == [
        ("1.0.0", ""),
        ("modelpack", "ModelPack: digits 1.0.0"),
    ]


def _place(reference: object) -> dict[str, str]:
    return {"registry": reference.registry, "repository": reference.repository}  # type: ignore[attr-defined]
