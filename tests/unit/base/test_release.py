"""What a signature has to hold against: another byte, another key, another suite."""

from __future__ import annotations

from pathlib import Path

import pysequoia
import pytest

from builder.base.release import IndexNotListed, Keyring, UntrustedRelease, WrongRelease, verify_release
from tests.support.archives import DATE, TinyArchive


@pytest.fixture
def archive(tmp_path: Path) -> TinyArchive:
    made = TinyArchive(tmp_path)
    made.add("a", {})
    made.publish()
    return made


def inrelease(archive: TinyArchive) -> bytes:
    return (archive.root / "dists/trixie/InRelease").read_bytes()


def keyring(archive: TinyArchive) -> Keyring:
    return Keyring(name="test.gpg", content=archive.keyring)


def test_a_good_signature_gives_the_indexes_and_the_signer(archive: TinyArchive) -> None:
    release = verify_release(inrelease(archive), keyring(archive), "trixie")
    assert release.signed_by == (archive.key.extract_certificate().fingerprint,)
    assert (release.date, release.version) == (DATE, "13.7")
    assert release.index("main/binary-arm64/Packages.xz")
    with pytest.raises(IndexNotListed, match="main/binary-riscv64"):
        release.index("main/binary-riscv64/Packages.xz")


def test_one_good_signer_among_many_keys_is_enough(archive: TinyArchive) -> None:
    other = bytes(pysequoia.Tsk.generate(user_id="Other <o@example.org>").extract_certificate())
    both = Keyring(name="two.gpg", content=other + archive.keyring)
    assert verify_release(inrelease(archive), both, "trixie").signed_by == (
        archive.key.extract_certificate().fingerprint,
    )


def test_a_changed_byte_is_noticed(archive: TinyArchive) -> None:
    tampered = inrelease(archive).replace(b"Version: 13.7", b"Version: 13.8")
    with pytest.raises(UntrustedRelease, match=r"not signed by a key in test\.gpg"):
        verify_release(tampered, keyring(archive), "trixie")


def test_another_key_does_not_count(archive: TinyArchive) -> None:
    archive.publish(signed_by=pysequoia.Tsk.generate(user_id="Mallory <m@example.org>"))
    with pytest.raises(UntrustedRelease):
        verify_release(inrelease(archive), keyring(archive), "trixie")


def test_text_around_the_signed_part_is_not_believed(archive: TinyArchive) -> None:
    signed = inrelease(archive)
    forged = b"Codename: trixie\nVersion: 99\n\n" + signed
    try:
        release = verify_release(forged, keyring(archive), "trixie")
    except UntrustedRelease:
        return
    assert release.version == "13.7"


@pytest.mark.parametrize("content", [b"", b"Codename: trixie\n", b"\xff\x00"])
def test_unsigned_files_are_refused_in_one_line(archive: TinyArchive, content: bytes) -> None:
    with pytest.raises(UntrustedRelease) as caught:
        verify_release(content, keyring(archive), "trixie")
    assert "\n" not in str(caught.value)


def test_the_release_of_another_suite_is_refused(archive: TinyArchive) -> None:
    archive.publish("bookworm")
    content = (archive.root / "dists/bookworm/InRelease").read_bytes()
    with pytest.raises(WrongRelease, match="trixie is that of bookworm"):
        verify_release(content, keyring(archive), "trixie")
