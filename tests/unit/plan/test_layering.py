"""Layers by what changes together: nothing twice, models plain, the key follows the entries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

from builder.oci.digest import Digest
from builder.oci.entry import EntryKind, FileEntry
from builder.plan.chunks import in_words
from builder.plan.image import Compression, LayerRole
from builder.plan.layering import MOST_MODEL_LAYERS, PLAIN_FROM, plan_layers


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
    runtime, model = plan_layers({LayerRole.RUNTIME: [file("/opt/a")]}, {"m": [weights]})
    assert (runtime.role, runtime.compression) == (LayerRole.RUNTIME, Compression.GZIP)
    assert (model.role, model.compression) == (LayerRole.MODEL, Compression.NONE)
    (small,) = plan_layers({}, {"m": [replace(weights, size=PLAIN_FROM - 1)]})
    assert small.compression is Compression.GZIP


def test_a_layer_tells_what_it_holds_and_its_bytes_do_not_depend_on_it() -> None:
    chunks = [file(f"/models/m/1/weights/{name}.bin", name.encode()) for name in "ab"]
    tensors = {chunks[0].path: f"m: {in_words(('conv.bias', 'conv.weight', 'fc.bias'))}", chunks[1].path: in_words("w")}
    trees = {LayerRole.RUNTIME: [file("/r")], LayerRole.WEIGHTS: chunks}
    told = plan_layers(trees, {"m": [file("/models/m/x")]}, {"cublas": [file("/lib/cublas")]}, tensors)
    assert [(layer.role.value, layer.holds) for layer in told] == [
        ("runtime", ""),
        ("libraries", "cublas"),
        ("weights", "m: conv.bias to fc.bias (3 tensors)"),
        ("weights", "w"),
        ("model", "m"),
    ]
    untold = plan_layers(trees, {"m": [file("/models/m/x")]}, {"cublas": [file("/lib/cublas")]})
    assert [layer.key for layer in told] == [layer.key for layer in untold]


def test_roles_without_entries_make_no_layer() -> None:
    assert plan_layers({LayerRole.BASE: []}, {"m": [file("/m")]})[0].role is LayerRole.MODEL


def test_the_key_follows_the_content_and_not_the_order() -> None:
    first = plan_layers({LayerRole.RUNTIME: [file("/a"), file("/b")]})[0]
    assert first.key == plan_layers({LayerRole.RUNTIME: [file("/b"), file("/a")]})[0].key
    assert first.key != plan_layers({LayerRole.RUNTIME: [file("/a"), file("/b", b"other")]})[0].key


def models(*names: str) -> dict[str, list[FileEntry]]:
    root = FileEntry.directory("/models")
    return {name: [root, FileEntry.directory(f"/models/{name}"), file(f"/models/{name}/m")] for name in names}


def test_each_model_has_a_layer_that_knows_nothing_of_the_others() -> None:
    two, three = plan_layers({}, models("b", "c")), plan_layers({}, models("c", "b", "a"))
    assert [layer.models for layer in three] == [("a",), ("b",), ("c",)]
    assert [layer.key for layer in three[1:]] == [layer.key for layer in two]


def test_a_directory_below_the_models_is_left_out_of_each() -> None:
    _, *own = plan_layers({LayerRole.SERVER: [FileEntry.directory("/models"), file("/s")]}, models("a", "b"))
    assert [str(entry.path) for layer in own for entry in layer.entries] == [
        *("/models/a", "/models/a/m"),
        *("/models/b", "/models/b/m"),
    ]


def test_very_many_models_share_layers_and_one_more_changes_one() -> None:
    names = [f"m{number}" for number in range(300)]
    many, more = plan_layers({}, models(*names)), plan_layers({}, models(*names, "another"))
    assert len(many) <= MOST_MODEL_LAYERS
    assert sorted(name for layer in many for name in layer.models) == sorted(names)
    assert len({layer.key for layer in more} - {layer.key for layer in many}) == 1
    assert sum(str(entry.path) == "/models" for layer in many for entry in layer.entries) == len(many)
