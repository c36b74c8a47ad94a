"""Each static rule, broken once; findings in a base image of others are warned about only."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from builder.elf import ElfFacts
from builder.oci.config import ImageConfig
from builder.oci.entry import EntryKind
from builder.oci.layout import Layout
from builder.oci.manifest import Manifest
from builder.oci.platform import Platform
from builder.probe.checks import Check, static_checks
from builder.probe.contents import ImageContents, ImageFile
from builder.probe.layer_contents import LayerFile
from builder.probe.runner import ProbedImage

AMD64 = Platform(os="linux", architecture="amd64")
LIBC = ElfFacts(machine="EM_X86_64")


def file(path: str, mode: int = 0o644, **facts: object) -> LayerFile:
    return LayerFile(path=PurePosixPath(path), kind=EntryKind.FILE, mode=mode, **facts)  # type: ignore[arg-type]


def directory(path: str, mode: int = 0o755, **facts: object) -> LayerFile:
    return LayerFile(path=PurePosixPath(path), kind=EntryKind.DIRECTORY, mode=mode, **facts)  # type: ignore[arg-type]


def link(path: str, target: str) -> LayerFile:
    return LayerFile(path=PurePosixPath(path), kind=EntryKind.SYMLINK, mode=0o777, target=target)


def elf(
    path: str,
    *needed: str,
    search: tuple[str, ...] = (),
    machine: str = "EM_X86_64",
    loader: str = "",
    is_rpath: bool = False,
) -> LayerFile:
    facts = ElfFacts(machine=machine, needed=needed, search=search, interpreter=loader, is_rpath=is_rpath)
    return file(path, 0o755, elf=facts)


GOOD = (
    link("/lib", "usr/lib"),
    link("/lib64", "/usr/lib64"),
    directory("/tmp", 0o1777),
    file("/usr/lib/x86_64-linux-gnu/libc.so.6", 0o755, elf=LIBC),
    file("/usr/lib64/ld-linux-x86-64.so.2", 0o755, elf=LIBC),
    elf("/usr/bin/python3.13", "libc.so.6", loader="/lib64/ld-linux-x86-64.so.2"),
    directory("/models"),
    file("/models/digits/1/model.onnx"),
    file("/usr/lib/python3.13/shlex.py"),
)


def checked(
    *added: LayerFile, user: str = "10001:10001", env: tuple[str, ...] = ("ORT_DISABLE_TELEMETRY=1",), layers: int = 0
) -> dict[str, Check]:
    """The checks of a good image with ``added`` on top, by name; its lowest ``layers`` are of others."""
    settings = {"User": user, "Env": list(env)}
    config = ImageConfig.build(platform=AMD64, created="", settings=settings, diff_ids=(), history=())
    manifest = Manifest.build(config=config.descriptor, layers=())
    image = ProbedImage(layout=Layout(Path("nowhere")), manifest=manifest, config=config, base_layers=layers)
    files = {entry.path: ImageFile(entry=entry, layer=0) for entry in (*GOOD, *added)}
    return {check.name: check for check in static_checks(image, ImageContents(files=files, kept={}))}


def findings(check: Check) -> list[str]:
    return [finding.text for finding in check.findings]


def test_a_good_image_breaks_no_rule() -> None:
    assert all(not check.findings for check in checked().values())


@pytest.mark.parametrize("user", ["", "root", "0", "0:0", "nonroot", "10001:staff"])
def test_a_user_that_is_root_or_not_numeric(user: str) -> None:
    assert not checked(user=user)["non-root-user"].passed


@pytest.mark.parametrize("user", ["1", "10001", "10001:0"])
def test_a_user_that_is_a_number(user: str) -> None:
    assert checked(user=user)["non-root-user"].passed


@pytest.mark.parametrize(
    ("rule", "entry", "text"),
    [
        ("no-shell", elf("/usr/bin/bash"), "/usr/bin/bash is a shell"),
        ("no-shell", link("/usr/bin/sh", "/opt/tool"), "/usr/bin/sh is a shell"),
        ("no-setuid", file("/usr/bin/su", 0o4755), "/usr/bin/su changes the user that runs it"),
        ("no-setuid", file("/usr/bin/wall", 0o2755), "/usr/bin/wall changes the user that runs it"),
        ("no-world-writable", file("/etc/open", 0o666), "/etc/open may be written by anyone"),
        ("no-world-writable", directory("/srv", 0o1777), "/srv may be written by anyone"),
        ("no-world-writable", directory("/tmp", 0o777), "/tmp may be written by anyone"),
        ("models-readable", file("/models/digits/secret", 0o640), "/models/digits/secret (mode 0640) may not be read"),
        ("models-readable", directory("/models/digits", 0o700), "/models/digits (mode 0700) may not be read"),
        ("libraries-present", elf("/opt/a.so", "libmissing.so.1"), "/opt/a.so needs libmissing.so.1"),
        ("libraries-present", elf("/opt/a.so", machine="EM_AARCH64"), "is built for EM_AARCH64, not for EM_X86_64"),
        ("libraries-present", elf("/opt/a", loader="/lib/ld-musl.so.1"), "/opt/a needs the loader /lib/ld-musl.so.1"),
    ],
)
def test_a_file_that_breaks_a_rule(rule: str, entry: LayerFile, text: str) -> None:
    broken = checked(entry)
    assert [name for name, check in broken.items() if check.findings] == [rule]
    assert text in findings(broken[rule])[0]
    assert not broken[rule].passed


def test_a_script_is_no_shell_whatever_its_name() -> None:
    assert checked(file("/usr/bin/sh", 0o755))["no-shell"].passed


def test_what_is_readable_goes_by_owner_and_group() -> None:
    entries = (file("/models/own", 0o400, uid=10001), file("/models/group", 0o040, uid=1, gid=10001))
    assert checked(*entries)["models-readable"].passed


def test_findings_in_a_base_of_others_do_not_fail() -> None:
    check = checked(elf("/usr/bin/bash"), layers=1)["no-shell"]
    assert check.passed
    assert [finding.foreign for finding in check.findings] == [True]


def test_telemetry_must_be_off() -> None:
    assert not checked(env=())["no-telemetry"].passed


def test_libraries_are_found_where_the_loader_looks() -> None:
    beside = file("/opt/numpy.libs/libopenblas.so", 0o755, elf=LIBC)
    by_origin = elf("/opt/numpy/core.so", "libopenblas.so", search=("$ORIGIN/../numpy.libs",))
    assert checked(beside, by_origin)["libraries-present"].passed
    braces = elf("/opt/numpy/core.so", "libopenblas.so", search=("${ORIGIN}/../numpy.libs",))
    assert checked(beside, braces)["libraries-present"].passed
    bare = elf("/opt/numpy/core.so", "libopenblas.so")
    assert not checked(beside, bare)["libraries-present"].passed
    variable = ("ORT_DISABLE_TELEMETRY=1", "LD_LIBRARY_PATH=/opt/numpy.libs")
    assert checked(beside, bare, env=variable)["libraries-present"].passed


def test_a_library_may_be_behind_links_but_not_a_dangling_one() -> None:
    needs = elf("/opt/a.so", "liba.so.1")
    to_file = (link("/usr/lib/liba.so.1", "liba.so.1.2"), file("/usr/lib/liba.so.1.2", 0o755, elf=LIBC))
    assert checked(needs, *to_file)["libraries-present"].passed
    assert not checked(needs, link("/usr/lib/liba.so.1", "liba.so.1"))["libraries-present"].passed


def test_the_driver_brings_its_own_libraries() -> None:
    assert checked(elf("/opt/cuda.so", "libcuda.so.1"))["libraries-present"].passed


def test_an_rpath_also_holds_for_what_comes_with_the_program() -> None:
    program = elf("/opt/bin/server", "libcore.so", search=("$ORIGIN/../libs",), is_rpath=True)
    core = elf("/opt/libs/libcore.so", "libcurl.so", search=("$ORIGIN",))  # with a RUNPATH of its own
    curl, ssl = elf("/opt/libs/libcurl.so", "libssl.so"), file("/opt/libs/libssl.so", 0o755, elf=LIBC)
    assert checked(program, core, curl, ssl)["libraries-present"].passed
    by_runpath = elf("/opt/bin/server", "libcore.so", search=("$ORIGIN/../libs",))
    assert findings(checked(by_runpath, core, curl, ssl)["libraries-present"]) == [
        "/opt/libs/libcurl.so needs libssl.so (there is /opt/libs/libssl.so, where the loader does not look for it)"
    ]
    deaf = elf("/opt/libs/libcurl.so", "libssl.so", search=("/elsewhere",))
    assert not checked(program, core, deaf, ssl)["libraries-present"].passed, "a RUNPATH shuts inherited RPATHs out"
