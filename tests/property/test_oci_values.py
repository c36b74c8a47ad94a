"""Texts and JSON of the OCI values are read back as the same values."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.oci.descriptor import Descriptor
from builder.oci.digest import Digest, MalformedDigest
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.platform import Platform
from builder.oci.reference import MalformedReference, Reference

digests = st.binary(max_size=20).map(Digest.of)
component = st.from_regex(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+){0,2}", fullmatch=True).filter(lambda text: len(text) < 40)
repositories = st.lists(component, min_size=1, max_size=4).map("/".join)
registries = st.sampled_from(["localhost", "localhost:5000", "registry.example.com", "10.0.0.1:443", "[::1]:5000"])
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)
platforms = st.builds(
    Platform,
    os=st.sampled_from(["linux", "windows"]),
    architecture=st.sampled_from(["amd64", "arm64", "riscv64"]),
    variant=st.sampled_from(["", "v8"]),
)
references = st.builds(
    Reference, registry=registries, repository=repositories, tag=st.just("") | tags, digest=st.none() | digests
)


@given(references)
def test_a_reference_is_read_back_from_its_text(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(references)
def test_the_familiar_name_means_the_same(reference: Reference) -> None:
    assert Reference.parse(reference.familiar) == reference


@given(component, st.just("") | tags)
def test_a_short_name_is_docker_s(name: str, tag: str) -> None:
    parsed = Reference.parse(f"{name}:{tag}" if tag else name)

    assert (parsed.registry, parsed.repository, parsed.tag) == ("docker.io", f"library/{name}", tag)
    assert parsed.familiar == (f"{name}:{tag}" if tag else name)


@given(st.text(max_size=60))
def test_any_text_is_a_reference_or_a_clear_refusal(text: str) -> None:
    try:
        parsed = Reference.parse(text)
    except (MalformedReference, MalformedDigest) as error:
        assert error.advice
    else:
        assert Reference.parse(str(parsed)) == parsed


@given(digests)
def test_a_digest_is_read_back(digest: Digest) -> None:
    assert Digest(str(digest)) == Digest.from_hex(digest.hex) == digest


@given(st.text(max_size=80).filter(lambda text: not text.startswith("sha256:")))
def test_other_text_is_no_digest(text: str) -> None:
    with pytest.raises(MalformedDigest):
        Digest(text)


@given(platforms)
def test_a_platform_is_read_back(platform: Platform) -> None:
    assert Platform.parse(str(platform)) == platform


@given(
    st.builds(
        Descriptor,
        media_type=st.text(min_size=1),
        digest=digests,
        size=st.integers(0, 2**60),
        annotations=st.dictionaries(st.text(), st.text()),
        platform=st.none() | platforms,
    )
)
def test_a_descriptor_is_read_back(descriptor: Descriptor) -> None:
    assert Descriptor.from_json(descriptor.to_json()) == descriptor


@given(
    kind=st.sampled_from(EntryKind),
    parts=st.lists(st.text(min_size=1).filter(lambda part: part != ".." and "/" not in part), max_size=4),
    mode=st.integers(0, 0o7777),
    owner=st.tuples(st.integers(0, 2**31), st.integers(0, 2**31)),
    digest=digests,
    size=st.integers(0, 2**60),
    target=st.text(min_size=1),
)
def test_an_entry_is_read_back(
    kind: EntryKind, parts: list[str], mode: int, owner: tuple[int, int], digest: Digest, size: int, target: str
) -> None:
    file = kind is EntryKind.FILE
    entry = FileEntry(
        path=PurePosixPath("/", *parts),
        kind=kind,
        mode=mode,
        uid=owner[0],
        gid=owner[1],
        digest=digest if file else None,
        size=size if file else 0,
        target=target if kind is EntryKind.SYMLINK else "",
    )

    assert FileEntry.from_json(entry.to_json()) == entry
