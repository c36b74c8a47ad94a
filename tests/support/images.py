"""Small images for tests: a tree with every kind of entry, a plan over it, and a way to look at what came out."""

from __future__ import annotations

import hashlib
import stat
import struct
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from builder.assemble.image import AssembledImage
from builder.host.trees import StagedTree, TreeWriter, merged
from builder.oci.entry import EntryKind, FileEntry
from builder.oci.platform import Platform
from builder.oci.tar_reader import OPAQUE, WHITEOUT, open_tar
from builder.oci.verify import uncompressed
from builder.plan.image import Compression, ConfigPatch, Healthcheck, ImagePlan, LayerRole
from builder.plan.layering import plan_layers


def tiny_program(message: str, *, then_sleep: bool = False) -> bytes:
    """A static ELF program for Linux on x86-64 that prints a line, and then ends or waits for ever."""
    text = message.encode() + b"\n"
    sleep = bytes.fromhex("b8220000000f05ebf7")  # pause(), again and again
    leave = bytes.fromhex("b83c00000031ff0f05")  # exit(0)
    tail = sleep if then_sleep else leave
    head = bytes.fromhex("b801000000bf01000000488d35")  # write(1, ...
    after_address = bytes.fromhex("ba") + struct.pack("<I", len(text)) + bytes.fromhex("0f05") + tail
    code = head + struct.pack("<i", len(after_address)) + after_address + text
    base, start = 0x400000, 64 + 56
    size = start + len(code)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    file_header = ident + struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + start, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, size, size, 0x1000)
    return file_header + segment + code


def base_tree(directory: Path) -> StagedTree:
    """A root file system with what only archives keep: a sticky directory, owners, modes, links."""
    writer = TreeWriter(directory)
    writer.add_directory("/tmp", 0o1777)
    writer.add_file("/etc/passwd", b"root:x:0:0::/:\nnonroot:x:10001:10001::/:\n")
    writer.add_directory("/usr/bin")
    writer.add_symlink("/bin", "usr/bin")
    writer.add_file("/usr/bin/hello", tiny_program("hello from the image"), 0o755)
    writer.add_file("/usr/bin/wait", tiny_program("waiting", then_sleep=True), 0o755)
    tree = writer.finish()
    home = FileEntry(path=PurePosixPath("/home"), kind=EntryKind.DIRECTORY, mode=0o750, uid=10001, gid=10001)
    return StagedTree(entries=(*tree.entries, home), files=tree.files)


def model_tree(directory: Path) -> StagedTree:
    """Files with names and modes that are easily lost: spaces, letters beyond ASCII, long paths, empty ones."""
    writer = TreeWriter(directory)
    writer.add_file("/models/digits/model.onnx", bytes(range(256)) * 4096, 0o644)
    writer.add_file("/models/digits/a file with $pace.json", b"{}", 0o600)
    writer.add_file("/models/digits/größe.txt", "größe".encode(), 0o444)
    writer.add_file(f"/models/{'deep/' * 30}{'long-' * 20}name", b"far away", 0o755)
    writer.add_file("/models/empty", b"")
    writer.add_directory("/models/nothing", 0o700)
    writer.add_symlink("/models/latest", "digits")
    writer.add_file("/usr/share/about", b"below a directory of the base")
    return writer.finish()


def small_plan(directory: Path) -> tuple[ImagePlan, StagedTree]:
    """A plan of a base layer (gzip) and a model layer (plain), and the tree that it is made of."""
    base, model = base_tree(directory / "base"), model_tree(directory / "model")
    rootfs, weights = plan_layers({LayerRole.BASE: base.entries}, {"digits": model.entries})
    plan = ImagePlan(
        platform=Platform(os="linux", architecture="amd64"),
        base=None,
        layers=(rootfs, replace(weights, compression=Compression.NONE)),  # one of each kind
        config=ConfigPatch(
            env=(("PATH", "/usr/bin"), ("GREETING", 'say "hello", pay $5')),
            entrypoint=("/usr/bin/hello",),
            cmd=("--port", "8000"),
            user="10001:10001",
            workdir="/",
            ports=(8000,),
            labels=(("org.opencontainers.image.title", "digits"), ("note", "two words")),
            healthcheck=Healthcheck(test=("/usr/bin/hello", "--check")),
        ),
        created="2026-01-02T03:04:05Z",
        annotations=(("org.opencontainers.image.title", "digits"),),
    )
    return plan, merged([base, model])


@dataclass(frozen=True)
class SeenFile:
    """What a container would find at a path."""

    kind: str
    mode: int
    owner: tuple[int, int]
    content: str
    link: str


def file_tree(image: AssembledImage) -> dict[str, SeenFile]:
    """The files of an image as its layers stack up, whiteouts applied."""
    tree: dict[str, SeenFile] = {}
    for layer in image.layers:
        stored = image.layout.read_blob(layer.descriptor)
        with open_tar(uncompressed(stored, layer.descriptor.media_type)) as archive:
            for member in archive:
                path = PurePosixPath("/") / member.name
                if path.name.startswith(WHITEOUT):
                    hidden = path.parent if path.name == OPAQUE else path.with_name(path.name.removeprefix(WHITEOUT))
                    tree = {name: seen for name, seen in tree.items() if hidden not in PurePosixPath(name).parents}
                    tree.pop(str(hidden), None) if path.name != OPAQUE else None
                    continue
                content = archive.extractfile(member) if member.isreg() else None
                tree[str(path)] = SeenFile(
                    kind=member.type.decode(),
                    mode=stat.S_IMODE(member.mode),
                    owner=(member.uid, member.gid),
                    content=hashlib.sha256(content.read()).hexdigest() if content else "",
                    link=member.linkname,
                )
    return tree
