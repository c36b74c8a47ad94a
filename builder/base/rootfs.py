"""What maintainer scripts would have made of the unpacked packages, made by hand: links, accounts, certificates,
os-release, and the package database that scanners read.

Every function takes the tree that is being written and adds to it; none reads this machine.
"""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from builder.base.deb import PackageFile, image_path
from builder.base.deb822 import parse_stanza
from builder.base.spec import BaseImage, ImageUser
from builder.errors import AssemblyError
from builder.host.trees import TreeWriter
from builder.oci.entry import EntryKind

CA_BUNDLE = PurePosixPath("/etc/ssl/certs/ca-certificates.crt")
_CA_SOURCES = PurePosixPath("/usr/share/ca-certificates")
_STATUS = PurePosixPath("/var/lib/dpkg/status.d")
_NO_SHELL = "/usr/sbin/nologin"
_DIRECTORIES = (("/dev", 0o755), ("/etc", 0o755), ("/home", 0o755), ("/proc", 0o555), ("/root", 0o700))
_MORE_DIRECTORIES = (("/run", 0o755), ("/sys", 0o555), ("/tmp", 0o1777), ("/var/tmp", 0o1777))  # noqa: S108
_NSSWITCH = """\
passwd:    files
group:     files
shadow:    files
hosts:     files dns
networks:  files
protocols: files
services:  files
ethers:    files
rpc:       files
"""


class IncompleteBase(AssemblyError):
    code = "incomplete-base"
    message = "the base image {base} has no {path}"
    hint = "check `packages`, `prune` and `keep` in {spec}"


def add_skeleton(writer: TreeWriter) -> None:
    """The directories that a container engine mounts over, and those that programs expect."""
    for path, mode in _DIRECTORIES + _MORE_DIRECTORIES:
        writer.add_directory(path, mode)


def merge_usr(writer: TreeWriter) -> None:
    """/bin, /lib, /lib64 and /sbin as links into /usr (file-hierarchy(7)); only to what is there."""
    for name in ("bin", "lib", "lib64", "sbin"):
        inside = PurePosixPath("/usr", name)
        if inside in writer.entries or any(inside in path.parents for path in writer.entries):
            writer.add_symlink(f"/{name}", f"usr/{name}")
        else:
            writer.remove(PurePosixPath("/", name))


def add_accounts(writer: TreeWriter, user: ImageUser) -> None:
    """root, the image's own user, and nobody; no passwords, no shells. Also nsswitch.conf, which glibc reads."""
    accounts = (("root", 0, PurePosixPath("/root")), (user.name, user.uid, user.home))
    nobody = ("nobody", 65534, PurePosixPath("/nonexistent"))
    passwd = [f"{name}:x:{uid}:{uid}:{name}:{home}:{_NO_SHELL}" for name, uid, home in (*accounts, nobody)]
    groups = [f"{name}:x:{gid}:" for name, gid, _ in accounts] + ["nogroup:x:65534:"]
    writer.add_file("/etc/passwd", _lines(passwd))
    writer.add_file("/etc/group", _lines(groups))
    writer.add_file("/etc/nsswitch.conf", _NSSWITCH.encode())


def add_python_link(writer: TreeWriter, image: BaseImage) -> None:
    """/usr/bin/python3. Raises IncompleteBase where the interpreter is not there."""
    interpreter = PurePosixPath("/usr/bin", f"python{image.python}")
    if interpreter not in writer.entries:
        raise IncompleteBase(base=image.name, path=interpreter, spec=image.directory / "image.yaml")
    writer.add_symlink("/usr/bin/python3", interpreter.name)


def add_certificates(writer: TreeWriter) -> None:
    """One bundle of all CA certificates of the ca-certificates package, where OpenSSL and others look for it.

    Without the ``openssl`` package there is no /usr/lib/ssl, which is libssl's compiled-in OPENSSLDIR in Debian.
    """
    names = sorted(p for p in writer.entries if _CA_SOURCES in p.parents and p.suffix == ".crt")
    if not names:
        return
    writer.add_file(CA_BUNDLE, b"".join(writer.read(path).rstrip(b"\n") + b"\n" for path in names))
    writer.add_symlink("/usr/lib/ssl/cert.pem", str(CA_BUNDLE))
    writer.add_symlink("/usr/lib/ssl/certs", str(CA_BUNDLE.parent))


def extend_os_release(writer: TreeWriter, image: BaseImage) -> None:
    """Adds the spec's fields to Debian's os-release (os-release(5)); ID and VERSION_ID stay."""
    path = PurePosixPath("/usr/lib/os-release")
    if path not in writer.entries:
        raise IncompleteBase(base=image.name, path=path, spec=image.directory / "image.yaml")
    ours = dict(image.os_release)
    lines = [line for line in writer.read(path).decode().splitlines() if line.partition("=")[0] not in ours]
    writer.add_file(path, _lines(lines + [f'{name}="{value}"' for name, value in sorted(ours.items())]))


def add_package_records(writer: TreeWriter, packages: list[PackageFile]) -> None:
    """/var/lib/dpkg/status.d: a control stanza for each package, and the md5sums of those of its files that are here,
    so that scanners know what is installed (the layout of Google's distroless images, which they all read)."""
    for package in packages:
        stanza = package.control.strip("\n")
        if "status" not in parse_stanza(stanza):
            head, _, rest = stanza.partition("\n")
            stanza = f"{head}\nStatus: install ok installed\n{rest}"
        writer.add_file(_STATUS / package.name, stanza.encode() + b"\n")
        sums = [line for line in package.md5sums.splitlines() if _is_here(line, writer)]
        writer.add_file(_STATUS / f"{package.name}.md5sums", _lines(sums))


def _is_here(line: str, writer: TreeWriter) -> bool:
    """Whether the file of an md5sums line is in the tree as it was packaged (os-release, for one, is not)."""
    expected, _, name = line.partition("  ")
    entry = writer.entries.get(image_path(name)) if name else None
    if entry is None or entry.kind is not EntryKind.FILE:
        return False
    return hashlib.md5(writer.read(entry.path), usedforsecurity=False).hexdigest() == expected


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()
