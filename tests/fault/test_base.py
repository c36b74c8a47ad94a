"""A base from a small real archive over HTTP: locked, staged, and what happens when the archive lies or is gone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pysequoia
import pytest

from builder.base.deb import DamagedPackage
from builder.base.lock import BaseLock, read_lock, write_lock
from builder.base.locking import PythonMissing, lock_base
from builder.base.mirror import ArchiveUnreachable, PackageGone
from builder.base.release import UntrustedRelease
from builder.base.spec import BaseImage, read_spec
from builder.base.stage import is_staged, stage_base
from builder.events import Progress, Warned
from builder.host import Host
from builder.host.store import WrongDigest
from builder.host.trees import StagedTree
from builder.oci.digest import Digest
from builder.oci.entry import EntryKind
from builder.oci.platform import Platform
from tests.support.archives import TinyArchive, served
from tests.support.hosts import ImpatientClock, RecordedEvents, real_host

AMD64 = Platform.parse("linux/amd64")
SPEC = """\
description: a base for tests
suite: trixie
archives:
  - {name: debian, suites: [trixie]}
  - {name: debian-security, suites: [trixie-security], optional: true}
components: [main]
platforms: [linux/amd64, linux/arm64]
keyring: keys.gpg
python: "3.13"
packages: [base-files, ca-certificates, python3.13-minimal]
exclude: {awk: not needed}
prune: {usr/share/doc/**: docs, usr/share/ca-certificates/**: bundled, usr/sbin/**: tools}
keep: {usr/share/doc/*/copyright: licences}
user: {name: nonroot, uid: 10001}
os_release: {VARIANT_ID: test}
"""


@pytest.fixture
def archive(tmp_path: Path) -> TinyArchive:
    made = TinyArchive(tmp_path / "srv" / "debian")
    made.add(
        "base-files",
        {
            "bin": "usr/bin",
            "usr/lib/os-release": b'ID=debian\nVERSION_ID="13"\n',
            "usr/share/doc/base-files/README": b".",
        },
        fields="Pre-Depends: awk\n",
    )
    made.add(
        "ca-certificates",
        {
            "usr/share/ca-certificates/mozilla/B.crt": b"second",
            "usr/share/ca-certificates/mozilla/A.crt": b"first\n",
            "usr/sbin/update-ca-certificates": b"#!/bin/sh",
            "usr/share/doc/ca-certificates/copyright": b"free",
        },
    )
    made.add("libc6", {"lib64/ld-linux-x86-64.so.2": b"loader", "usr/lib/libc.so.6": b"libc"}, version="2.41-1")
    made.add(
        "python3.13-minimal",
        {"usr/bin/python3.13": b"interpreter"},
        version="3.13.5-2+deb13u5",
        fields="Depends: libc6 (>= 2.38)\n",
    )
    made.publish()
    return made


@pytest.fixture
def image(archive: TinyArchive, tmp_path: Path) -> BaseImage:
    directory = tmp_path / "base"
    directory.mkdir()
    (directory / "keys.gpg").write_bytes(archive.keyring)
    (directory / "image.yaml").write_text(SPEC)
    return read_spec(directory / "image.yaml")


@pytest.fixture
def near(archive: TinyArchive, tmp_path: Path) -> Iterator[Host]:
    """A host whose mirror is the archive, and for which the snapshot service is elsewhere on the same server."""
    with served(archive.root.parent) as address:
        environ = {"MBUILD_DEBIAN_MIRROR": f"{address}/debian", "MBUILD_DEBIAN_SNAPSHOT": f"{address}/snapshot"}
        yield dataclasses.replace(real_host(tmp_path / "cache", environ), clock=ImpatientClock())


def events(host: Host) -> RecordedEvents:
    assert isinstance(host.events, RecordedEvents)
    return host.events


def content(tree: StagedTree, path: str) -> bytes:
    (entry,) = [entry for entry in tree.entries if entry.path == PurePosixPath(path)]
    assert entry.digest is not None
    with tree.open(entry.digest) as stream:
        return stream.read()


def locked(image: BaseImage, host: Host) -> BaseLock:
    write_lock(lock_base(image, host), image.lock_path)
    return read_lock(image)


def test_locking_takes_the_closure_and_the_exact_python(image: BaseImage, near: Host) -> None:
    lock = locked(image, near)
    names = [package.package for package in lock.platforms[AMD64]]
    assert names == ["base-files", "ca-certificates", "libc6", "python3.13-minimal"]
    assert (lock.python, lock.snapshot) == ("3.13.5", "20261122T000000Z")
    assert [release.suite for release in lock.releases] == ["trixie"]


def test_an_optional_archive_that_is_not_there_is_a_warning(image: BaseImage, near: Host) -> None:
    locked(image, near)
    (warning,) = [event for event in events(near).events if isinstance(event, Warned)]
    assert "without trixie-security" in warning.message


def test_staging_does_what_maintainer_scripts_would_do_and_runs_none(image: BaseImage, near: Host) -> None:
    tree = stage_base(image, locked(image, near), AMD64, near)
    entries = {str(entry.path): entry for entry in tree.entries}
    assert entries["/bin"].target == "usr/bin"
    assert entries["/lib64"].target == "usr/lib64"
    assert "/sbin" not in entries
    assert entries["/usr/bin/python3"].target == "python3.13"
    assert entries["/usr/bin/python3.13"].mode == 0o755, "the setuid bit is dropped"
    assert entries["/tmp"].mode == 0o1777
    assert content(tree, "/etc/ssl/certs/ca-certificates.crt") == b"first\nsecond\n"
    assert b"nonroot:x:10001:10001:" in content(tree, "/etc/passwd")
    assert content(tree, "/usr/lib/os-release") == b'ID=debian\nVERSION_ID="13"\nVARIANT_ID="test"\n'
    assert "/usr/share/doc/base-files/README" not in entries
    assert "/usr/share/doc/ca-certificates/copyright" in entries
    assert not any(entry.kind is EntryKind.FILE and entry.mode & 0o7000 for entry in tree.entries)
    assert not Path("/tmp/a-maintainer-script-ran").exists()


def test_scanners_find_the_packages_with_the_files_that_are_left(image: BaseImage, near: Host) -> None:
    tree = stage_base(image, locked(image, near), AMD64, near)
    stanza = content(tree, "/var/lib/dpkg/status.d/libc6").decode()
    assert stanza.startswith("Package: libc6\nStatus: install ok installed\nVersion: 2.41-1\n")
    assert b"lib64/ld-linux-x86-64.so.2" in content(tree, "/var/lib/dpkg/status.d/libc6.md5sums")
    sums = content(tree, "/var/lib/dpkg/status.d/ca-certificates.md5sums").decode()
    assert [line.split()[1] for line in sums.splitlines()] == ["usr/share/doc/ca-certificates/copyright"]
    assert content(tree, "/var/lib/dpkg/status.d/base-files.md5sums") == b"", "os-release is not as it was packaged"


def test_a_staged_base_needs_no_network(image: BaseImage, near: Host, tmp_path: Path) -> None:
    lock = locked(image, near)
    first = stage_base(image, lock, AMD64, near)
    nowhere = {"MBUILD_DEBIAN_MIRROR": "http://127.0.0.1:9/debian", "MBUILD_DEBIAN_SNAPSHOT": "http://127.0.0.1:9"}
    offline = real_host(tmp_path / "cache", nowhere)
    assert is_staged(image, lock, AMD64, offline)
    assert stage_base(image, lock, AMD64, offline).entries == first.entries


def test_the_tree_is_the_same_from_another_cache(image: BaseImage, near: Host, tmp_path: Path) -> None:
    lock = locked(image, near)
    other = real_host(tmp_path / "elsewhere", near.environ)
    assert stage_base(image, lock, AMD64, near).entries == stage_base(image, lock, AMD64, other).entries


def test_progress_ends_at_the_total(image: BaseImage, near: Host) -> None:
    lock = locked(image, near)
    events(near).events.clear()
    stage_base(image, lock, AMD64, near)
    last = max((e for e in events(near).events if isinstance(e, Progress)), key=lambda event: event.done)
    assert last.done == last.total == sum(package.size for package in lock.platforms[AMD64])


def test_a_release_that_another_key_signed_is_not_locked(image: BaseImage, near: Host, archive: TinyArchive) -> None:
    archive.publish(signed_by=pysequoia.Tsk.generate(user_id="Mallory <m@example.org>"))
    with pytest.raises(UntrustedRelease):
        lock_base(image, near)


def test_an_index_that_the_release_does_not_vouch_for_is_not_read(
    image: BaseImage, near: Host, archive: TinyArchive
) -> None:
    (archive.root / "dists/trixie/main/binary-amd64/Packages.xz").write_bytes(b"other packages")
    with pytest.raises(WrongDigest):
        lock_base(image, near)


def test_an_old_release_is_a_warning(image: BaseImage, near: Host, archive: TinyArchive) -> None:
    archive.publish(extra="Valid-Until: Sat, 28 Nov 2020 02:11:10 UTC\n")
    lock_base(image, near)
    assert any("only" in event.message for event in events(near).events if isinstance(event, Warned))


def test_a_spec_without_python_cannot_be_locked(image: BaseImage, near: Host) -> None:
    with pytest.raises(PythonMissing):
        lock_base(dataclasses.replace(image, packages=("base-files",)), near)


def test_a_package_with_other_bytes_is_not_used(image: BaseImage, near: Host, archive: TinyArchive) -> None:
    lock = locked(image, near)
    (archive.root / "pool/main/libc6_2.41-1_all.deb").write_bytes(b"!<arch>\nother")
    with pytest.raises(WrongDigest, match="libc6"):
        stage_base(image, lock, AMD64, near)
    assert not is_staged(image, lock, AMD64, near)


def test_a_package_that_left_the_mirror_comes_from_the_snapshot(
    image: BaseImage, near: Host, archive: TinyArchive
) -> None:
    lock = locked(image, near)
    gone = archive.root / "pool/main/libc6_2.41-1_all.deb"
    kept = archive.root.parent / "snapshot/archive/debian" / lock.snapshot / "pool/main" / gone.name
    kept.parent.mkdir(parents=True)
    gone.rename(kept)
    assert stage_base(image, lock, AMD64, near).entries


def test_a_package_that_is_nowhere_asks_for_a_new_lock(image: BaseImage, near: Host, archive: TinyArchive) -> None:
    lock = locked(image, near)
    (archive.root / "pool/main/libc6_2.41-1_all.deb").unlink()
    with pytest.raises(PackageGone, match="pool/main/libc6") as caught:
        stage_base(image, lock, AMD64, near)
    assert "mbuild base lock base" in caught.value.advice


def test_no_mirror_at_all_is_a_matter_of_the_network(image: BaseImage, near: Host, tmp_path: Path) -> None:
    lock = locked(image, near)
    nowhere = {"MBUILD_DEBIAN_MIRROR": "http://127.0.0.1:9/debian", "MBUILD_DEBIAN_SNAPSHOT": "http://127.0.0.1:9"}
    clock = ImpatientClock()
    with pytest.raises(ArchiveUnreachable) as caught:
        stage_base(image, lock, AMD64, dataclasses.replace(real_host(tmp_path / "other", nowhere), clock=clock))
    assert clock.waits, "a refused connection is tried again"
    assert str(caught.value).count("127.0.0.1") >= 2


def test_a_locked_file_that_is_no_package_is_named(image: BaseImage, near: Host, archive: TinyArchive) -> None:
    lock = locked(image, near)
    (archive.root / "pool/main/libc6_2.41-1_all.deb").write_bytes(b"!<arch>\nbroken")
    (libc6,) = [package for package in lock.platforms[AMD64] if package.package == "libc6"]
    broken = dataclasses.replace(libc6, sha256=Digest.of(b"!<arch>\nbroken"))
    with pytest.raises(DamagedPackage, match="libc6"):
        stage_base(image, dataclasses.replace(lock, platforms={AMD64: (broken,)}), AMD64, near)
