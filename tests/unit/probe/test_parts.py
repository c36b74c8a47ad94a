"""Whose file is whose in an image, and why each part is said to be there."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from builder.elf import ElfFacts
from builder.oci.descriptor import LAYER_GZIP, Descriptor
from builder.oci.entry import EntryKind
from builder.probe.contents import ImageContents, ImageFile
from builder.probe.layer_contents import LayerFile
from builder.probe.packages import packages_of
from builder.probe.parts import LARGE_LIBRARY, LayerParts, Part, image_parts

BIG = LARGE_LIBRARY + 1
CORE = "/opt/site/numpy/core.cpython-313-x86_64-linux-gnu.so"
STATUS = b"""Package: libc6
Version: 2.41
Architecture: amd64

Package: python3
Version: 3.13
Architecture: amd64
Depends: libc6 (>= 2.38), media-types | mime-support
Pre-Depends: libssl3t64:any
"""
FILES = {
    "/usr/lib/libc.so.6": (BIG, ElfFacts(machine="EM_X86_64")),
    "/usr/bin/python3": (BIG, ElfFacts(machine="EM_X86_64", needed=("libc.so.6",), interpreter="/lib64/ld.so")),
    "/usr/lib/python3/os.py": (10, None),
    "/usr/lib/python3/__pycache__/os.cpython-313.pyc": (30, None),
    "/opt/site/numpy/core.cpython-313-x86_64-linux-gnu.so": (
        BIG,
        ElfFacts(machine="EM_X86_64", needed=("libblas.so",)),
    ),
    "/opt/site/numpy.libs/libblas.so": (BIG, ElfFacts(machine="EM_X86_64")),
    "/opt/site/plugin.so": (BIG, ElfFacts(machine="EM_X86_64")),
    "/opt/site/numpy-2.0.dist-info/RECORD": (5, None),
    "/opt/mbuild/server/mbuild_serve/app.py": (7, None),
    "/models/digits/1/model.onnx": (100, None),
    "/models/digits/mbuild.json": (1, None),
    "/etc/motd": (3, None),
    "/var/lib/dpkg/status": (9, None),
}
KEPT = {
    "/var/lib/dpkg/info/libc6:amd64.list": b"/.\n/usr/lib\n/usr/lib/libc.so.6\n",
    "/var/lib/dpkg/info/python3.list": b"/usr/bin/python3\n/usr/lib/python3/os.py\n",
    "/opt/site/numpy-2.0.dist-info/METADATA": (
        b"Name: NumPy\nVersion: 2.0\nRequires-Dist: orjson ; extra == 'x'\n\nText: no\n"
    ),
    "/opt/site/numpy-2.0.dist-info/RECORD": (
        b"numpy/core.cpython-313-x86_64-linux-gnu.so,sha256=1,2\n"
        b'"numpy.libs/libblas.so",,\nnumpy-2.0.dist-info/RECORD,,\n'
    ),
    "/opt/site/ort.dist-info/METADATA": (
        b"Name: onnxruntime\nVersion: 1.31\nRequires-Dist: numpy>=1.26\nRequires-Dist: ???\n"
    ),
    "/opt/site/ort.dist-info/RECORD": b"plugin.so,,\n",
}


def contents(status: dict[str, bytes]) -> ImageContents:
    files = {}
    for name, (size, elf) in FILES.items():
        path = PurePosixPath(name)
        entry = LayerFile(path=path, kind=EntryKind.FILE, mode=0o755, size=size, elf=elf)
        files[path] = ImageFile(entry=entry, layer=int(path.parts[1] in ("opt", "models")))
    link = PurePosixPath("/usr/lib/libblas-old.so")
    files[link] = ImageFile(
        entry=LayerFile(path=link, kind=EntryKind.SYMLINK, mode=0o777, target="/opt/site/numpy.libs/libblas.so"),
        layer=0,
    )
    return ImageContents(files=files, kept={PurePosixPath(name): raw for name, raw in (KEPT | status).items()})


def parts(status: dict[str, bytes] | None = None) -> tuple[LayerParts, ...]:
    descriptors = [Descriptor.of(raw, LAYER_GZIP) for raw in (b"lower", b"upper")]
    return image_parts(contents(status or {"/var/lib/dpkg/status": STATUS}), descriptors, ["base", "runtime"])


def part(name: str) -> Part:
    (found,) = [one for layer in parts() for one in layer.parts if one.name == name]
    return found


def test_every_byte_is_somebodys() -> None:
    layers = parts()
    assert sum(layer.size for layer in layers) == sum(size for size, _ in FILES.values())
    assert [layer.role for layer in layers] == ["base", "runtime"]
    for layer in layers:
        assert [one.size for one in layer.parts] == sorted((one.size for one in layer.parts), reverse=True)


@pytest.mark.parametrize(
    ("name", "kind", "size", "why"),
    [
        ("libc6", "deb", BIG, "needed by python3"),
        ("python3", "deb", BIG + 40, "asked for by the base image"),
        ("numpy", "wheel", 2 * BIG + 5, "needed by onnxruntime"),
        ("onnxruntime", "wheel", BIG, "asked for by the target or the model"),
        ("the server", "server", 7, "answers the requests"),
        ("digits", "model", 101, "graph, weights, description and golden cases"),
        ("lists of packages", "other", 9, "says what is inside, to scanners"),
        ("other files in /etc", "other", 3, "in no package's list"),
    ],
)
def test_whose_it_is_and_why(name: str, kind: str, size: int, why: str) -> None:
    found = part(name)
    assert (found.kind, found.size, found.why) == (kind, size, why)


def test_why_a_library_is_there() -> None:
    said = {library.path.name: library.why for layer in parts() for one in layer.parts for library in one.libraries}
    assert said == {
        "libc.so.6": "needed by python3",
        "python3": "a program",
        "core.cpython-313-x86_64-linux-gnu.so": "imported by Python",
        "libblas.so": "needed by core.so",
        "plugin.so": "opened by name at run time",
    }


def test_an_image_without_dpkg_lists_packages_one_by_one() -> None:
    alone = {
        "/var/lib/dpkg/status.d/libc6": STATUS.split(b"\n\n")[0],
        "/var/lib/dpkg/status.d/libc6.md5sums": b"0123456789abcdef0123456789abcdef  usr/lib/libc.so.6\n",
    }
    (found,) = [one for one in packages_of(contents(alone)) if one.kind == "deb"]
    assert (found.name, found.version) == ("libc6", "2.41")
    assert PurePosixPath("/usr/lib/libc.so.6") in found.files


def test_what_a_package_needs() -> None:
    needs = {one.name: one.needs for one in packages_of(contents({"/var/lib/dpkg/status": STATUS}))}
    assert needs["python3"] == {"libc6", "media-types", "mime-support", "libssl3t64"}
    assert (needs["numpy"], needs["onnxruntime"]) == (frozenset(), {"numpy"})


def library_reason(said: bytes) -> str:
    """What is told of a library of cuDNN in an image that says ``said`` of its GPU side."""
    place = PurePosixPath("/opt/site/nvidia/cudnn/lib/libcudnn_cnn.so.9")
    home = PurePosixPath("/opt/site/nvidia_cudnn_cu13-9.20.dist-info")
    entry = LayerFile(path=place, kind=EntryKind.FILE, mode=0o644, size=BIG, elf=ElfFacts(machine="EM_X86_64"))
    kept = {
        home / "METADATA": b"Name: nvidia-cudnn-cu13\nVersion: 9.20\n\n",
        home / "RECORD": b"nvidia/cudnn/lib/libcudnn_cnn.so.9,,\n",
        PurePosixPath("/opt/mbuild/gpu.json"): said,
    }
    image = ImageContents(files={place: ImageFile(entry=entry, layer=0)}, kept=kept)
    (layer,) = image_parts(image, [Descriptor.of(b"libraries", LAYER_GZIP)], ["libraries"])
    (found,) = layer.parts
    assert (found.name, found.version) == ("nvidia-cudnn-cu13", "9.20")
    return found.why


def test_a_gpu_image_says_itself_why_it_has_a_library() -> None:
    said = b'{"parts": {"cudnn-cnn": "Conv in 12 nodes (the first: /a)", "later": "unheard of"}}'
    assert library_reason(said) == "cudnn-cnn: Conv in 12 nodes (the first: /a)"


@pytest.mark.parametrize("said", [b"", b"{}", b"[]", b'{"parts": ["cudnn-cnn"]}', b"\xff"])
def test_an_image_that_does_not_say_so_in_a_way_that_can_be_read(said: bytes) -> None:
    assert library_reason(said) == "asked for by the target or the model"
