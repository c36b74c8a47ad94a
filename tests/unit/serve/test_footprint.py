"""Which of the process's memory is code that comes from a file."""

from __future__ import annotations

from builder.serve.footprint import code

MAPPINGS = """\
55d0c0400000-55d0c0401000 r--p 00000000 fe:00 131 /usr/bin/python3.13
55d0c0401000-55d0c0403000 r-xp 00001000 fe:00 131 /usr/bin/python3.13
55d0c0403000-55d0c0404000 rw-p 00003000 fe:00 131 /usr/bin/python3.13
55d0c1000000-55d0c1800000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000001000 rwxp 00000000 00:00 0
7f0000100000-7f0000102000 r-xp 00000000 00:00 0
7f0000200000-7f0000204000 r-xp 00000000 fe:00 99 /opt/a name with spaces.so
7f0000300000-7f0000301000 rwxp 00000000 fe:00 98 /opt/writes-to-itself.so
7ffd00000000-7ffd00002000 r-xp 00000000 00:00 0 [vdso]
"""


def test_only_code_of_files_that_nobody_wrote_to() -> None:
    assert list(code(MAPPINGS.splitlines())) == [
        (0x55D0C0401000, 0x55D0C0403000),
        (0x7F0000200000, 0x7F0000204000),
    ]
