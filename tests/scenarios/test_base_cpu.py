"""The real cpu base from the real archive: what is in it, what is not, and that its Python runs."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path, PurePosixPath

import pytest
from elftools.elf.elffile import ELFFile

from builder.base.lock import read_lock
from builder.base.mirror import archive_roots
from builder.base.release import Keyring, UntrustedRelease, verify_release
from builder.base.spec import load_base
from builder.base.stage import stage_base
from builder.host import Host
from builder.host.http import Request
from builder.host.run import Command
from builder.host.trees import StagedTree, materialise
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.platform import Platform

pytestmark = pytest.mark.network

PLATFORMS = ("linux/amd64", "linux/arm64")
MEBIBYTE = 1 << 20
NEVER = ("bin/sh", "bin/bash", "bin/dash", "bin/busybox", "bin/perl", "bin/apt", "bin/apt-get", "bin/dpkg", "bin/su")


@pytest.fixture(scope="module", params=PLATFORMS)
def tree(request: pytest.FixtureRequest, host: Host) -> StagedTree:
    image = load_base("cpu")
    return stage_base(image, read_lock(image), Platform.parse(request.param), host)


def files(tree: StagedTree) -> list[FileEntry]:
    return [entry for entry in tree.entries if entry.kind is EntryKind.FILE]


def content(tree: StagedTree, entry: FileEntry) -> bytes:
    assert entry.digest is not None
    return tree.path(entry.digest).read_bytes()


def named(tree: StagedTree, path: str) -> bytes:
    (entry,) = [entry for entry in tree.entries if entry.path == PurePosixPath(path)]
    return content(tree, entry)


def test_it_is_small(tree: StagedTree) -> None:
    assert tree.size < 36 * MEBIBYTE


def test_there_is_no_shell_no_package_manager_and_nothing_setuid(tree: StagedTree) -> None:
    paths = {str(entry.path) for entry in tree.entries}
    assert not {path for path in paths if path.endswith(NEVER)}
    assert sorted(path for path in paths if path.startswith("/usr/bin/")) == ["/usr/bin/python3", "/usr/bin/python3.13"]
    assert not [entry.path for entry in files(tree) if entry.mode & 0o7000]
    assert not [entry.path for entry in tree.entries if entry.kind is EntryKind.FILE and entry.mode & 0o022]


def test_no_file_starts_an_interpreter_that_is_not_there(tree: StagedTree) -> None:
    scripts = {str(entry.path) for entry in files(tree) if entry.mode & 0o111 and content(tree, entry)[:2] == b"#!"}
    starters = {named(tree, path).splitlines()[0].decode() for path in scripts}
    assert {line for line in starters if "python3" not in line} == set()


def test_the_user_is_not_root(tree: StagedTree) -> None:
    accounts = {line.split(":")[0]: line.split(":") for line in named(tree, "/etc/passwd").decode().splitlines()}
    assert accounts["nonroot"][2:4] == ["10001", "10001"]
    assert "nonroot:x:10001:" in named(tree, "/etc/group").decode().splitlines()


def test_links_lead_somewhere(tree: StagedTree, tmp_path: Path) -> None:
    materialise(tree, tmp_path)
    dangling = []
    for entry in tree.entries:
        if entry.kind is EntryKind.SYMLINK:
            start = tmp_path if entry.target.startswith("/") else (tmp_path / entry.path.relative_to("/")).parent
            if not (start / entry.target.lstrip("/")).exists():
                dangling.append(f"{entry.path} -> {entry.target}")
    assert not dangling


def test_every_library_that_a_program_needs_is_there(tree: StagedTree) -> None:
    present = {entry.path.name for entry in tree.entries if entry.path.is_relative_to("/usr/lib")}
    missing = []
    for entry in files(tree):
        raw = content(tree, entry)
        if raw[:4] == b"\x7fELF":
            dynamic = ELFFile(io.BytesIO(raw)).get_section_by_name(".dynamic")
            needed = [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")] if dynamic else []
            missing += [f"{entry.path} needs {name}" for name in needed if name not in present]
    assert not missing


def test_licences_stay(tree: StagedTree) -> None:
    paths = {str(entry.path) for entry in tree.entries}
    packages = {PurePosixPath(path).name for path in paths if "/status.d/" in path and not path.endswith(".md5sums")}
    links = {str(e.path): e.target for e in tree.entries if e.kind is EntryKind.SYMLINK}
    for package in packages:
        doc = f"/usr/share/doc/{package}"
        doc = f"/usr/share/doc/{links[doc]}" if doc in links else doc
        assert f"{doc}/copyright" in paths, package
    assert "/usr/share/common-licenses/GPL-3" in paths


def test_there_is_no_bytecode_yet(tree: StagedTree) -> None:
    assert not [entry.path for entry in tree.entries if entry.path.suffix == ".pyc"]


PROGRAM = """\
import sys
sys.path[:] = [f"{ROOT}/usr/lib/python3.13", f"{ROOT}/usr/lib/python3.13/lib-dynload"]
import asyncio, bz2, concurrent.futures, ctypes, decimal, hashlib, http.client, json, logging.config, lzma
import multiprocessing.shared_memory, pickle, socket, ssl, tempfile, unittest, urllib.request, uuid, zipfile, zoneinfo
import xml.etree.ElementTree
context = ssl.create_default_context(cafile=f"{ROOT}/etc/ssl/certs/ca-certificates.crt")
paths = ssl.get_default_verify_paths()
print(json.dumps({
    "version": ".".join(map(str, sys.version_info[:3])), "authorities": len(context.get_ca_certs()),
    "sha256": hashlib.sha256(b"").hexdigest()[:8], "decimal": str(decimal.Decimal("0.1") * 3),
    "xml": xml.etree.ElementTree.fromstring("<a>text</a>").text, "cafile": paths.openssl_cafile,
}))
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="runs the amd64 tree")
def test_its_python_runs(host: Host, tmp_path: Path) -> None:
    image = load_base("cpu")
    lock = read_lock(image)
    materialise(stage_base(image, lock, Platform.parse("linux/amd64"), host), tmp_path)
    program = PROGRAM.replace("{ROOT}", str(tmp_path))
    loader = (
        str(tmp_path / "lib64/ld-linux-x86-64.so.2"),
        "--library-path",
        str(tmp_path / "usr/lib/x86_64-linux-gnu"),
    )
    argv = (*loader, str(tmp_path / "usr/bin/python3.13"), "-I", "-S", "-c", program)
    done = host.run.run(Command(argv=argv, env={}, timeout=60))
    assert done.ok, done.complaint
    answer = json.loads(done.stdout)
    assert answer["version"] == lock.python
    assert answer["authorities"] > 100
    assert (answer["sha256"], answer["decimal"], answer["xml"]) == ("e3b0c442", "0.3", "text")
    assert answer["cafile"] == "/usr/lib/ssl/cert.pem"


def test_the_archives_real_signature_is_believed_and_a_changed_byte_is_not(host: Host) -> None:
    image = load_base("cpu")
    keyring = Keyring(name=image.keyring.name, content=image.keyring.read_bytes())
    root = archive_roots("debian", read_lock(image).snapshot, host.environ)[0]
    with host.http.send(Request(verb="GET", url=f"{root}/dists/trixie/InRelease")) as response:
        signed = response.read()
    release = verify_release(signed, keyring, "trixie")
    assert release.version.startswith("13.")
    with pytest.raises(UntrustedRelease):
        verify_release(signed.replace(b"Codename: trixie", b"Codename: trixiE", 1), keyring, "trixie")
