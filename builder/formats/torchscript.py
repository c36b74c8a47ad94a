"""TorchScript files (torch.jit.save): the names of the arguments, read from the source text inside without PyTorch."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import PurePosixPath

from builder.formats.pickles import UnreadablePickle, read_pickle
from builder.model.source import ModelSource

_MAX_BYTES = 64 << 20


def call_arguments(source: ModelSource, path: PurePosixPath) -> tuple[str, ...]:
    """The arguments of ``forward`` in their order; empty where they cannot be read. ``data.pkl`` names the class of the
    module first, and ``code/`` has its source (pytorch, torch/csrc/jit/docs/serialization.md)."""
    try:
        with zipfile.ZipFile(source.locate(path)) as archive:
            pickled = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
            owner = read_pickle(io.BytesIO(_member(archive, pickled))).names[0]
            module, _, name = owner.replace(":", ".").rpartition(".")
            text = _member(archive, f"{pickled.removesuffix('data.pkl')}code/{module.replace('.', '/')}.py").decode()
    except (OSError, zipfile.BadZipFile, KeyError, StopIteration, IndexError, ValueError, UnreadablePickle):
        return ()
    found = re.search(rf"^class {re.escape(name)}\(.*?^  def forward\(self: [^,)]+,?(.*?)\) ->", text, re.M | re.S)
    return tuple(re.findall(r"(?:^|,)\s*(\w+): ", found[1])) if found else ()


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise ValueError(f"{name} is larger than {_MAX_BYTES} bytes")
    return archive.read(name)
