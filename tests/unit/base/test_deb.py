"""Opening package files, whole and damaged."""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath

import pytest

from builder.base.deb import DamagedPackage, image_path, open_package, read_ar
from builder.oci.entry import EntryKind
from tests.support.archives import ar, make_deb, tar_member, tar_xz

CONTROL = "Package: a\nVersion: 1\n"


def deb_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    control = tar_xz([(tar_member("./control"), CONTROL.encode())])
    return ar({"debian-binary": b"2.0\n", "control.tar.xz": control, "data.tar.xz": tar_xz(list(members))})


def test_odd_members_are_padded() -> None:
    assert dict(read_ar(ar({"a": b"odd", "b/": b"even"}), "x")) == {"a": b"odd", "b": b"even"}


def test_control_sums_and_files() -> None:
    package = open_package(make_deb(CONTROL, {"usr/bin/tool": b"x", "usr/lib/l.so": "l.so.1"}), "a")
    assert package.control == CONTROL
    assert package.md5sums.endswith("  usr/bin/tool\n")
    tool, link = package.files()
    assert (tool.path, tool.content, tool.mode) == (PurePosixPath("/usr/bin/tool"), b"x", 0o755)
    assert (link.kind, link.target) == (EntryKind.SYMLINK, "l.so.1")


def test_hard_links_become_copies() -> None:
    first = (tar_member("./usr/bin/one"), b"same")
    second = (tar_member("./usr/bin/two", tarfile.LNKTYPE, "./usr/bin/one"), b"")
    assert [found.content for found in open_package(deb_of(first, second), "a").files()] == [b"same", b"same"]


def test_paths_are_moved_below_usr() -> None:
    assert image_path("./lib/x86_64-linux-gnu/libc.so.6") == PurePosixPath("/usr/lib/x86_64-linux-gnu/libc.so.6")
    assert image_path("./sbin") == PurePosixPath("/sbin")
    assert image_path("etc/passwd") == PurePosixPath("/etc/passwd")


@pytest.mark.parametrize(
    "member",
    [
        tar_member("./a/../../etc/passwd"),
        tar_member("./dev/null", tarfile.CHRTYPE),
        tar_member("./f", tarfile.FIFOTYPE),
    ],
)
def test_what_has_no_place_in_an_image_is_refused(member: tarfile.TarInfo) -> None:
    with pytest.raises(DamagedPackage):
        list(open_package(deb_of((member, b"")), "a").files())


WHOLE = make_deb(CONTROL, {"usr/bin/tool": b"x" * 5000})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        WHOLE[:30],
        WHOLE[:-50],
        ar({"debian-binary": b"2.0\n"}),
        ar({"control.tar.zst": b"(\xb5/\xfd", "data.tar.zst": b"(\xb5/\xfd"}),
        ar({"control.tar.xz": b"not xz", "data.tar.xz": b"not xz"}),
        ar({"control.tar.xz": tar_xz([]), "data.tar.xz": tar_xz([])}),
    ],
)
def test_damaged_packages_are_refused(content: bytes) -> None:
    with pytest.raises(DamagedPackage) as caught:
        list(open_package(content, "a").files())
    assert str(caught.value).startswith("a is not a Debian package")
