"""Layers by what changes together: nothing twice, models plain, the key follows the entries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.plan.image import Compression, LayerRole
from builder.plan.layering import PLAIN_FROM, plan_layers


def file(path: str, content: bytes = b"x") -> FileEntry:
    return FileEntry(
        path=PurePosixPath(path), kind=EntryKind.FILE, mode=0o644, digest=Digest.of(content), size=len(content)
    )


def test_a_directory_of_a_lower_layer_is_not_repeated() -> None:
    opt = FileEntry.directory("/opt")
    runtime, server = plan_layers(
        {
            LayerRole.RUNTIME: [opt, file("/opt/a")],
            LayerRole.SERVER: [opt, FileEntry.directory("/opt/s"), file("/opt/s/b")],
        }
    )
    assert [str(e.path) for e in runtime.entries] == ["/opt", "/opt/a"]
    assert [str(e.path) for e in server.entries] == ["/opt/s", "/opt/s/b"]


def test_a_directory_whose_mode_changes_is_kept() -> None:
    _, server = plan_layers(
        {LayerRole.RUNTIME: [FileEntry.directory("/opt")], LayerRole.SERVER: [FileEntry.directory("/opt", 0o700)]}
    )
    assert [e.mode for e in server.entries] == [0o700]


def test_large_models_are_plain_and_the_rest_is_compressed() -> None:
    weights = replace(file("/models/m/1/weights.bin"), size=PLAIN_FROM)
    runtime, model = plan_layers({LayerRole.MODEL: [weights], LayerRole.RUNTIME: [file("/opt/a")]})
    assert (runtime.role, runtime.compression) == (LayerRole.RUNTIME, Compression.GZIP)
    assert (model.role, model.compression) == (LayerRole.MODEL, Compression.NONE)
    (small,) = plan_layers({LayerRole.MODEL: [replace(weights, size=PLAIN_FROM - 1)]})
    assert small.compression is Compression.GZIP


def test_roles_without_entries_make_no_layer() -> None:
    assert plan_layers({LayerRole.BASE: [], LayerRole.MODEL: [file("/m")]})[0].role is LayerRole.MODEL


def test_the_key_follows_the_content_and_not_the_order() -> None:
    first = plan_layers({LayerRole.RUNTIME: [file("/a"), file("/b")]})[0]
    assert first.key == plan_layers({LayerRole.RUNTIME: [file("/b"), file("/a")]})[0].key
    assert first.key != plan_layers({LayerRole.RUNTIME: [file("/a"), file("/b", b"other")]})[0].key
