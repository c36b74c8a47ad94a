"""What the http server's image asks of glibc's malloc is understood by glibc, which says nothing where it is not."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePosixPath

from builder.model.server_settings import ServerSettings
from builder.servers.http import MALLOC, TUNABLES, HttpServer


def test_glibc_takes_all_of_them() -> None:
    assert MALLOC in HttpServer().config(PurePosixPath("/usr/bin/python3"), (), ServerSettings()).env
    loader = next(path for where in ("/lib64", "/lib") for path in Path(where).glob("ld-linux-*.so.*"))
    said = subprocess.run(
        [loader, "--list-tunables"],
        env=dict([MALLOC]),
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    taken = dict(re.findall(r"^glibc\.malloc\.(\w+): (\w+)", said, re.MULTILINE))
    assert {name: int(taken[name], 0) for name in TUNABLES} == TUNABLES
