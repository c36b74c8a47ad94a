"""A small, real Debian archive made for a test: packages, indexes, and an InRelease that a key of the test signs."""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pysequoia

DATE = "Sat, 21 Nov 2026 02:11:10 UTC"


def ar(members: Mapping[str, bytes]) -> bytes:
    """An ``ar`` archive, as ``dpkg-deb`` writes it."""
    out = b"!<arch>\n"
    for name, content in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n".encode() + content
        out += b"\n" * (len(content) % 2)
    return out


def tar_xz(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:xz", format=tarfile.GNU_FORMAT) as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, link, mode
    return member


def make_deb(control: str, files: Mapping[str, bytes | str]) -> bytes:
    """A package with ``files`` (path without a leading slash to content, or to a link's target if it is a str)."""
    members, sums = [], ""
    for path, content in files.items():
        if isinstance(content, str):
            members.append((tar_member(f"./{path}", tarfile.SYMTYPE, content), b""))
        else:
            mode = 0o4755 if "bin/" in path else 0o644
            members.append((tar_member(f"./{path}", mode=mode), content))
            sums += f"{hashlib.md5(content).hexdigest()}  {path}\n"
    control_members = [(tar_member("./control"), control.encode()), (tar_member("./md5sums"), sums.encode())]
    script = (tar_member("./postinst", mode=0o755), b"#!/bin/sh\ntouch /tmp/a-maintainer-script-ran\n")
    return ar(
        {
            "debian-binary": b"2.0\n",
            "control.tar.xz": tar_xz([*control_members, script]),
            "data.tar.xz": tar_xz(members),
        }
    )


@dataclass
class TinyArchive:
    """An archive below ``root``; call ``publish`` after the last ``add``."""

    root: Path
    key: pysequoia.Tsk = field(default_factory=lambda: pysequoia.Tsk.generate(user_id="Test archive <a@example.org>"))
    stanzas: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, files: Mapping[str, bytes | str], *, version: str = "1.0-1", fields: str = "") -> Path:
        """Put a package for amd64 and arm64 into the pool; ``fields`` are further lines of its control stanza."""
        control = f"Package: {name}\nVersion: {version}\nArchitecture: all\n{fields}Description: {name}\n"
        deb = make_deb(control, files)
        path = self.root / f"pool/main/{name}_{version}_all.deb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(deb)
        where = (
            f"Filename: {path.relative_to(self.root)}\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
        )
        self.stanzas[name] = [*self.stanzas.get(name, []), control + where]
        return path

    def publish(self, suite: str = "trixie", *, signed_by: pysequoia.Tsk | None = None, extra: str = "") -> None:
        """Write the indexes and the signed InRelease."""
        packages = lzma.compress("\n".join(text for texts in self.stanzas.values() for text in texts).encode())
        lines = ""
        for architecture in ("amd64", "arm64"):
            name = f"main/binary-{architecture}/Packages.xz"
            lines += f" {hashlib.sha256(packages).hexdigest()} {len(packages)} {name}\n"
            path = self.root / "dists" / suite / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(packages)
        text = f"Origin: Test\nCodename: {suite}\nVersion: 13.7\nDate: {DATE}\n{extra}SHA256:\n{lines}"
        signer = (signed_by or self.key).signer()
        signed = pysequoia.sign(signer, text.encode(), mode=pysequoia.SignatureMode.CLEAR)
        (self.root / "dists" / suite / "InRelease").write_bytes(signed)

    @property
    def keyring(self) -> bytes:
        return bytes(self.key.extract_certificate())


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """The files below ``directory`` over HTTP on this machine; gives the address without a slash at the end."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
