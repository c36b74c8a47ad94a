"""Reading apt's sources in both formats, and which root of an archive is tried first."""

from __future__ import annotations

from pathlib import Path

from builder.base.deb822 import parse_stanzas
from builder.base.mirror import SNAPSHOT, archive_roots
from builder.base.sources import machine_mirrors, parse_list, parse_sources

SOURCES = """\
Types: deb deb-src
# the archive of this machine
URIs: http://mirror.example/debian/ https://other.example/pub/debian
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEZ

types: deb
uris: http://mirror.example/debian-security
suites: bookworm-security
components: main

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://sources-only.example/debian
Suites: bookworm
Components: main
"""
LIST = """\
# deb http://commented.example/debian bookworm main
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] http://options.example/debian bookworm main contrib # why
deb-src http://sources-only.example/debian bookworm main
deb\thttp://tabs.example/debian bookworm main
deb https://vendor.example/linux/debian bookworm stable
deb http://flat.example/debian ./
deb cdrom:[Debian]/debian bookworm main
"""


def apt_directory(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_stanzas_have_lower_case_names_and_joined_lines() -> None:
    first, second, *_ = parse_stanzas(SOURCES)
    assert first["components"] == "main contrib"
    assert first["signed-by"].splitlines()[1:] == ["-----BEGIN PGP PUBLIC KEY BLOCK-----", ".", "mDMEZ"]
    assert second["suites"] == "bookworm-security"


def test_deb822_sources() -> None:
    assert [uri for uri, _ in parse_sources(SOURCES)] == [
        "http://mirror.example/debian/",
        "https://other.example/pub/debian",
        "http://mirror.example/debian-security",
    ]


def test_one_line_sources() -> None:
    found = dict(parse_list(LIST))
    assert found["http://options.example/debian"] == {"main", "contrib"}
    assert "http://tabs.example/debian" in found
    assert not any("commented" in uri or "sources-only" in uri for uri in found)


def test_only_roots_of_debian_itself_are_mirrors(tmp_path: Path) -> None:
    apt = apt_directory(tmp_path, {"sources.list.d/debian.sources": SOURCES, "sources.list": LIST})
    assert machine_mirrors("debian", apt) == (
        "http://options.example/debian",
        "http://tabs.example/debian",
        "http://mirror.example/debian",
        "https://other.example/pub/debian",
    )
    assert machine_mirrors("debian-security", apt) == ("http://mirror.example/debian-security",)


def test_a_file_of_mirrors_is_followed(tmp_path: Path) -> None:
    apt = apt_directory(tmp_path, {"mirrors/debian.list": "https://near.example/debian\tpriority:1\n"})
    listed = f"deb mirror+file:{apt}/mirrors/debian.list bookworm main\n"
    apt_directory(tmp_path, {"sources.list": listed})
    assert machine_mirrors("debian", apt) == ("https://near.example/debian",)


def test_without_sources_the_dated_snapshot_is_the_mirror(tmp_path: Path) -> None:
    assert archive_roots("debian-security", "20261122T000000Z", {}, tmp_path) == (
        f"{SNAPSHOT}/archive/debian-security/20261122T000000Z",
    )


def test_a_configured_mirror_replaces_those_of_the_machine(tmp_path: Path) -> None:
    apt = apt_directory(tmp_path, {"sources.list.d/debian.sources": SOURCES})
    environ = {"MBUILD_DEBIAN_MIRROR": "https://near.example/debian/", "MBUILD_DEBIAN_SNAPSHOT": "https://old.example"}
    assert archive_roots("debian", "D", environ, apt) == (
        "https://near.example/debian",
        "https://old.example/archive/debian/D",
    )
    assert archive_roots("debian-security", "D", environ, apt)[0] == "https://near.example/debian-security"
    environ["MBUILD_DEBIAN_SECURITY_MIRROR"] = "https://fixes.example/x"
    assert archive_roots("debian-security", "D", environ, apt)[0] == "https://fixes.example/x"
