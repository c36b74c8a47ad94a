"""What the dynamic loader of glibc makes of files: facts of programs and libraries, and the loader's cache."""

from builder.elf.facts import MAGIC, ElfFacts, read_elf

__all__ = ["MAGIC", "ElfFacts", "read_elf"]
