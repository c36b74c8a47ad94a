"""pip's configuration is read as pip reads it."""

from __future__ import annotations

import os
from pathlib import Path

from builder.host.pip_settings import config_files, merge_pip_settings, read_pip_settings


def test_a_later_file_wins_and_the_install_section_over_the_global_one() -> None:
    system = "[global]\nindex-url = https://one.example/simple\ntimeout = 5\n[install]\nfind-links = /a\n"
    user = "[global]\nindex_url = https://two.example/simple\nfind-links = /b\n"
    settings = merge_pip_settings([system, user], {})
    assert settings == {"index-url": "https://two.example/simple", "timeout": "5", "find-links": "/a"}


def test_the_environment_wins_over_files() -> None:
    settings = merge_pip_settings(["[global]\nfind-links = /a\n"], {"PIP_FIND_LINKS": "/b /c", "PIP_CONFIG_FILE": "x"})
    assert settings == {"find-links": "/b /c"}


def test_several_lines_and_percent_signs_are_kept() -> None:
    text = "[global]\nextra-index-url =\n    https://u:p%40ss@one.example/simple\n    https://two.example/simple\n"
    urls = merge_pip_settings([text], {})["extra-index-url"].split()
    assert urls == ["https://u:p%40ss@one.example/simple", "https://two.example/simple"]


def test_a_broken_file_counts_as_empty() -> None:
    assert merge_pip_settings(["not a configuration", "[global]\nproxy = p:1\n"], {}) == {"proxy": "p:1"}


def test_files_are_found_below_home_and_the_named_one_comes_last(tmp_path: Path) -> None:
    (tmp_path / ".config" / "pip").mkdir(parents=True)
    (tmp_path / ".config" / "pip" / "pip.conf").write_text("[global]\nproxy = user:1\ncert = /ca.pem\n")
    (tmp_path / "named.conf").write_text("[global]\nproxy = named:1\n")
    environ = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "named.conf"), "XDG_CONFIG_DIRS": str(tmp_path)}
    settings = read_pip_settings(environ)
    assert (settings["proxy"], settings["cert"]) == ("named:1", "/ca.pem")


def test_the_null_device_switches_files_off(tmp_path: Path) -> None:
    assert config_files({"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}) == ()
