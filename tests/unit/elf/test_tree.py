"""A root filesystem as the loader sees it: links, directories, and what ldconfig would enter."""

from __future__ import annotations

from pathlib import PurePosixPath

from builder.elf import ElfFacts
from builder.elf.tree import LibraryTree, configured_directories, default_directories, libraries_in

X86 = "EM_X86_64"


def tree(files: dict[str, str], links: dict[str, str] | None = None, machine: str = X86) -> LibraryTree:
    """Files by path with their SONAMEs."""
    return LibraryTree(
        elves={PurePosixPath(path): ElfFacts(machine=machine, soname=soname) for path, soname in files.items()},
        links={PurePosixPath(path): target for path, target in (links or {}).items()},
    )


def listed(held: LibraryTree, *directories: str) -> list[tuple[str, str]]:
    return [(name, str(path)) for name, path in libraries_in(map(PurePosixPath, directories), held, "amd64")]


def test_a_file_is_found_through_links_of_files_and_directories() -> None:
    held = tree(
        {"/usr/lib/libz.so.1.3": "libz.so.1"},
        {"/lib": "usr/lib", "/usr/lib/libz.so.1": "libz.so.1.3", "/gone": "/nowhere", "/loop": "loop"},
    )
    real = PurePosixPath("/usr/lib/libz.so.1.3")
    for path in ("/usr/lib/libz.so.1.3", "/lib/libz.so.1", "/usr/lib/../lib/./libz.so.1"):
        assert held.find(PurePosixPath(path)) == real
    for path in ("/lib/libz.so", "/gone", "/loop", "/loop/libz.so.1"):
        assert held.find(PurePosixPath(path)) is None
    assert held.names(PurePosixPath("/lib")) == ("libz.so.1", "libz.so.1.3")


def test_libraries_are_entered_by_their_soname() -> None:
    held = tree({"/a/libz.so.1.3": "libz.so.1", "/a/libplain.so": "", "/a/ld-linux.so.2": "ld-linux.so.2"})
    assert sorted(listed(held, "/a")) == [
        ("ld-linux.so.2", "/a/ld-linux.so.2"),
        ("libplain.so", "/a/libplain.so"),
        ("libz.so.1", "/a/libz.so.1.3"),
    ]


def test_what_is_no_library_of_this_machine_is_not_entered() -> None:
    assert listed(tree({"/a/plugin.so": "", "/a/libtool": "", "/b/libz.so.1": "libz.so.1"}), "/a") == []
    assert listed(tree({"/a/libz.so.1": "libz.so.1"}, machine="EM_AARCH64"), "/a") == []


def test_links_for_the_linker_go_by_their_own_name() -> None:
    held = tree({"/a/libz.so.1.3": "libz.so.1"}, {"/a/libz.so.1": "libz.so.1.3", "/a/libz.so": "libz.so.1"})
    assert sorted(listed(held, "/a")) == [("libz.so", "/a/libz.so"), ("libz.so.1", "/a/libz.so.1")]


def test_of_two_files_for_one_name_the_newer_is_entered() -> None:
    held = tree({"/a/libz.so.1.9": "libz.so.1", "/a/libz.so.1.10": "libz.so.1"})
    assert listed(held, "/a") == [("libz.so.1", "/a/libz.so.1.10")]


def test_a_directory_is_entered_once_under_the_name_that_came_first() -> None:
    held = tree({"/usr/lib/libz.so.1": "libz.so.1"}, {"/lib": "usr/lib"})
    assert listed(held, "/lib", "/usr/lib") == [("libz.so.1", "/lib/libz.so.1")]


def test_directories_of_the_configuration_and_of_the_loader() -> None:
    texts = ["include /etc/ld.so.conf.d/*.conf\n", "# a comment\n/opt/a  # why\n\n/opt/b\n", "/opt/a\n"]
    assert configured_directories(texts) == (PurePosixPath("/opt/a"), PurePosixPath("/opt/b"))
    assert default_directories("arm64")[:2] == (
        PurePosixPath("/lib/aarch64-linux-gnu"),
        PurePosixPath("/usr/lib/aarch64-linux-gnu"),
    )
    assert default_directories("riscv64")[0] == PurePosixPath("/lib64")
