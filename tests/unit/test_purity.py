"""Unit tests cannot leave their process, and a golden file is compared, not only read."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import golden as goldens
from tests.support.golden import Golden
from tests.support.purity import Impure


def test_no_process() -> None:
    with pytest.raises(Impure, match="Popen"):
        subprocess.run([sys.executable, "-c", ""])


def test_no_socket() -> None:
    with pytest.raises(Impure, match="socket"):
        socket.create_connection(("127.0.0.1", 9))


def test_a_golden_file_that_differs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(goldens, "DIRECTORY", tmp_path)
    Golden(update=True)("a/text", "one\n")
    Golden(update=False)("a/text", "one\n")
    with pytest.raises(AssertionError, match="make golden"):
        Golden(update=False)("a/text", "two\n")
    with pytest.raises(pytest.fail.Exception, match="make golden"):
        Golden(update=False)("a/missing", "")
