"""What is read of an ELF file: what it needs, offers and opens, and what is made of a broken one."""

from __future__ import annotations

import io
import random

import pytest

from builder.elf import ElfFacts, read_elf
from builder.elf.facts import read_elf_symbols
from builder.elf.gpu_code import GpuCode
from tests.support.elves import Library

FULL = Library(
    soname="libfull.so.1",
    needed=("libb.so.2", "libc.so.6"),
    runpath="$ORIGIN/../lib:/opt/more",
    requires={"libc.so.6": ("GLIBC_2.34", "GLIBC_2.2.5", "GLIBC_2.99?")},
    defines=("FULL_1.0",),
    wants={("libb.so.2", "B_2"): ("b_one", "b_two?")},
    offers={"FULL_1.0": ("full",), "FULL_2.0": ("full", "more")},
    gpu=((GpuCode.named("sm_90a"), GpuCode.named("compute_120")), (GpuCode.named("sm_75"),)),
)


def facts(library: Library) -> ElfFacts:
    found = read_elf(io.BytesIO(library.to_bytes()))
    assert found
    return found


def test_all_facts() -> None:
    assert facts(FULL) == ElfFacts(
        machine="EM_X86_64",
        needed=("libb.so.2", "libc.so.6"),
        search=("$ORIGIN/../lib", "/opt/more"),
        soname="libfull.so.1",
        requires=(("libb.so.2", ("B_2",)), ("libc.so.6", ("GLIBC_2.2.5", "GLIBC_2.34"))),
        defines=("libfull.so.1", "FULL_1.0", "FULL_2.0"),
        gpu=tuple(map(GpuCode.named, ("sm_75", "sm_90a", "compute_120"))),
    )


def test_facts_are_kept_whole() -> None:
    read = facts(FULL)
    assert ElfFacts.from_json(read.to_json()) == read


def test_versions_are_read_without_section_headers() -> None:
    stripped = facts(Library(soname="libs.so", requires={"libc.so.6": ("GLIBC_2.34",)}, sections=False))
    assert stripped.requires == (("libc.so.6", ("GLIBC_2.34",)),)


def test_an_rpath_is_told_from_a_runpath() -> None:
    assert facts(Library(rpath="/opt")).is_rpath and facts(Library(rpath="/opt")).search == ("/opt",)
    both = facts(Library(rpath="/old", runpath="/new"))
    assert both.search == ("/new",) and not both.is_rpath


def test_which_builtins_nvrtc_opens() -> None:
    texts = ("compile", "libnvrtc-builtins.so.13.0", "libnvrtc-builtins.so.13.0")
    assert facts(Library(soname="libnvrtc.so.13", texts=texts)).opens == ("libnvrtc-builtins.so.13.0",)
    assert facts(Library(soname="libother.so.1", texts=texts)).opens == ()


def test_another_machine() -> None:
    assert facts(Library(architecture="arm64")).machine == "EM_AARCH64"


def test_the_symbols_that_have_versions() -> None:
    symbols = read_elf_symbols(io.BytesIO(FULL.to_bytes()))
    assert symbols.wanted == {("libb.so.2", "B_2", "b_one")}, "a weak one may be missing"
    assert symbols.offered == {("FULL_1.0", "full"), ("FULL_2.0", "full"), ("FULL_2.0", "more")}
    assert read_elf_symbols(io.BytesIO(b"no ELF")).wanted == frozenset()
    assert read_elf_symbols(io.BytesIO(Library(soname="libs.so").to_bytes())).offered == frozenset()


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_file_is_read_or_refused_but_never_more(seed: int) -> None:
    chance = random.Random(seed)
    content = bytearray(FULL.to_bytes())
    for _ in range(chance.randrange(1, 8)):
        content[chance.randrange(len(content))] = chance.choice((0, 1, 0x7F, 0xFF, chance.randrange(256)))
    content = content[: chance.choice((len(content), chance.randrange(1, len(content))))]
    for read in (read_elf, read_elf_symbols):
        read(io.BytesIO(bytes(content)))
