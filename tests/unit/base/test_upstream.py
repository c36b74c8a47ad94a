"""Finding the Python of somebody else's image in its layers."""

from __future__ import annotations

import struct
import tarfile
from io import BytesIO
from pathlib import Path, PurePosixPath

import pytest

from builder.base.upstream import Interpreter, UnsupportedBase, inspect_rootfs, installed_packages, missing_files
from builder.oci.verify import UnreadableLayer
from tests.support.archives import tar_member

LOADER = "/lib64/ld-linux-x86-64.so.2"
LIBC = b"\x7fELF...\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright"


def program(machine: int = 62, loader: str = LOADER, payload: bytes = b"") -> bytes:
    """A 64-bit ELF file with a PT_INTERP segment (gABI chapter 5)."""
    text = loader.encode() + b"\0"
    identity = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = identity + struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(text), len(text), 1)
    return header + segment + text + payload


def layer(path: Path, members: dict[str, bytes | str], compression: str = "gz") -> Path:
    """A layer; a str is the target of a symbolic link."""
    with tarfile.open(path, f"w:{compression}") as archive:
        for name, content in members.items():
            if isinstance(content, str):
                archive.addfile(tar_member(name, tarfile.SYMTYPE, content))
            else:
                member = tar_member(name, mode=0o755)
                member.size = len(content)
                archive.addfile(member, BytesIO(content))
    return path


DEBIAN = {
    "lib": "usr/lib",
    "lib64": "usr/lib64",
    "usr/lib64/ld-linux-x86-64.so.2": "../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2": b"loader",
    "usr/lib/x86_64-linux-gnu/libc.so.6": LIBC,
}


def test_what_was_found_comes_back_from_a_record() -> None:
    path, loader = PurePosixPath("/usr/bin/python3.11"), PurePosixPath(LOADER)
    found = Interpreter(path=path, version="3.11.2", architecture="amd64", loader=loader, glibc="2.36")
    assert Interpreter.from_json(found.to_json()) == found


def test_a_debian_python(tmp_path: Path) -> None:
    binary = program(payload=b"\0003.11.2\0other")
    found = inspect_rootfs([layer(tmp_path / "1", DEBIAN | {"usr/bin/python3.11": binary})], architecture="amd64")
    assert found == Interpreter(
        path=PurePosixPath("/usr/bin/python3.11"),
        version="3.11.2",
        architecture="amd64",
        loader=PurePosixPath(LOADER),
        glibc="2.36",
    )
    assert found.minor == "3.11"


def test_a_python_of_usr_local_whose_version_is_in_its_library(tmp_path: Path) -> None:
    first = layer(tmp_path / "1", DEBIAN, "")
    second = layer(
        tmp_path / "2",
        {
            "usr/local/bin/python3.13": program(),
            "usr/local/bin/python3": "python3.13",
            "usr/local/lib/libpython3.13.so.1.0": b"..\x003.13.9\0..",
        },
    )
    found = inspect_rootfs([first, second], architecture="amd64")
    assert (found.path, found.version) == (PurePosixPath("/usr/local/bin/python3.13"), "3.13.9")


def test_the_newest_of_several_wins(tmp_path: Path) -> None:
    pythons = {
        "usr/bin/python3.11": program(payload=b"\x003.11.2\0"),
        "usr/local/bin/python3.12": program(payload=b"\x003.12.7\0"),
    }
    base = layer(tmp_path / "1", DEBIAN | pythons)
    assert inspect_rootfs([base], architecture="amd64").version == "3.12.7"
    assert inspect_rootfs([base], architecture="amd64", pythons=("3.11",)).version == "3.11.2"


def test_an_upper_layer_hides_what_it_whites_out(tmp_path: Path) -> None:
    lower = layer(tmp_path / "1", DEBIAN | {"usr/bin/python3.11": program(payload=b"\x003.11.2\0")})
    upper = layer(tmp_path / "2", {"usr/bin/.wh.python3.11": b""})
    with pytest.raises(UnsupportedBase, match="it has no Python"):
        inspect_rootfs([lower, upper], architecture="amd64")
    opaque = layer(
        tmp_path / "3", {"usr/bin/.wh..wh..opq": b"", "usr/bin/python3.12": program(payload=b"\x003.12.1\0")}
    )
    assert inspect_rootfs([lower, opaque], architecture="amd64").version == "3.12.1"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "no Python"),
        ({"usr/bin/python3.13": "/elsewhere"}, "no Python"),
        ({"usr/bin/python3.13": "python3.13"}, "no Python"),
        ({"usr/bin/python3.13": b"#!/bin/sh"}, "not a program for amd64"),
        ({"usr/bin/python3.13": program(machine=183)}, "not a program for amd64"),
        ({"usr/bin/python3.13": program()}, "exact version"),
        ({"usr/bin/python3.13": program(loader="/lib/ld-musl-x86_64.so.1")}, "which is not glibc's"),
    ],
)
def test_other_images_are_refused_with_the_reason(tmp_path: Path, members: dict[str, bytes | str], reason: str) -> None:
    with pytest.raises(UnsupportedBase, match=reason) as caught:
        inspect_rootfs([layer(tmp_path / "1", DEBIAN | members)], architecture="amd64")
    assert "/usr/local/bin/python3.N" in caught.value.advice


def test_a_layer_that_is_no_tar_is_named(tmp_path: Path) -> None:
    (tmp_path / "1").write_bytes(b"(\xb5/\xfd zstd")
    with pytest.raises(UnreadableLayer, match="a layer cannot be read: 1: "):
        inspect_rootfs([tmp_path / "1"], architecture="amd64")


def test_which_files_an_image_lacks(tmp_path: Path) -> None:
    layers = [
        layer(
            tmp_path / "1",
            {"opt/tritonserver": "server-24", "opt/server-24/bin/tritonserver": b"", "usr/bin/curl": b""},
        ),
        layer(tmp_path / "2", {"usr/bin/.wh.curl": b""}),
    ]
    wanted = [PurePosixPath("/opt/tritonserver/bin/tritonserver"), PurePosixPath("/usr/bin/curl")]
    assert missing_files(layers, wanted) == (PurePosixPath("/usr/bin/curl"),)
    assert missing_files(layers[:1], wanted) == ()


def test_the_debian_packages_of_a_base(tmp_path: Path) -> None:
    """dpkg's own list, whose newest version counts, and the stanzas of images without dpkg."""
    stanza = "Package: {}\nStatus: {}\nVersion: {}\n"
    old = stanza.format("libc6", "install ok installed", "2.36-9")
    new = "\n".join(
        (
            stanza.format("libc6", "install ok installed", "2.41-12"),
            stanza.format("vim", "deinstall ok config-files", "9"),
            stanza.format("zlib1g", "hold ok installed", "1:1.3"),
        )
    )
    lower, upper = (
        layer(tmp_path / name, {"var/lib/dpkg/status": text.encode()}) for name, text in (("1", old), ("2", new))
    )
    assert installed_packages([lower, upper]) == {"libc6": "2.41-12", "zlib1g": "1:1.3"}
    apart = {
        "var/lib/dpkg/status.d/tzdata": b"Package: tzdata\nVersion: 2026a-1\n",
        "var/lib/dpkg/status.d/tzdata.md5sums": b"0 usr/share\n",
        "var/lib/dpkg/status.d/base": b"Package: base-files\nVersion: 13.8\n",
    }
    assert installed_packages([layer(tmp_path / "3", apart)]) == {"base-files": "13.8", "tzdata": "2026a-1"}
    assert installed_packages([layer(tmp_path / "4", {"etc/alpine-release": b"3"})]) == {}
