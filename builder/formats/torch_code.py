"""What PyTorch's own files would run when they are loaded, read without PyTorch: the pickles of TorchScript files, and
those that stand inside a .pt2. Weights of torch.save are read by torch_pickles."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator

from builder.formats.pickles import UnreadablePickle, read_pickle
from builder.formats.torch_pickles import WeightsUnreadable, names_in_zip, plain_names_removed, uncommon_names
from builder.model.source import Detection, ModelSource

_MAX_BYTES = 1 << 30
_SCRIPTED = re.compile(r"__torch__\..+|torch\..+|collections\.OrderedDict|builtins\.complex")
"""Names that the reader of TorchScript files, which is C++ and imports nothing, gives a meaning; it refuses others."""


_OWN = re.compile(r"torch\.[\w.]+|collections\.(OrderedDict|Counter|defaultdict)")
"""Left to torch's own reader of plain weights, which knows them best, and in the worker's sandbox refuses the rest."""


def code_in_weights(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """Of a file of torch.save. safetensors hold no code."""
    names = () if source.head(found.entry, 9).endswith(b"{") else uncommon_names(source, found.entry)
    return tuple(name for name in names if not _OWN.fullmatch(name))


def code_in_script(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """Of a TorchScript file. Raises WeightsUnreadable."""
    try:
        with zipfile.ZipFile(source.locate(found.entry)) as archive:
            pickles = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/(data|constants)\.pkl", name)]
            names = [name for member in pickles for name in read_pickle(io.BytesIO(_member(archive, member))).names]
    except (UnreadablePickle, zipfile.BadZipFile, OSError, KeyError) as error:
        raise WeightsUnreadable(path=found.entry, reason=error) from error
    return tuple(dict.fromkeys(name for name in names if not _SCRIPTED.fullmatch(name)))


def code_in_program(source: ModelSource, found: Detection) -> tuple[str, ...]:
    """Of the pickles in a .pt2: sample inputs, and weights and constants that are no raw tensors. What is no zip of
    torch.save there is left to the worker, which refuses it. Raises WeightsUnreadable."""
    try:
        with zipfile.ZipFile(source.locate(found.entry)) as archive:
            names = tuple(_names_in_members(archive))
    except (UnreadablePickle, zipfile.BadZipFile, OSError, KeyError) as error:
        raise WeightsUnreadable(path=found.entry, reason=error) from error
    return plain_names_removed(names)


def _names_in_members(archive: zipfile.ZipFile) -> Iterator[str]:
    for name in archive.namelist():
        if re.search(r"/data/(sample_inputs|weights|constants)/", name):
            with archive.open(name) as member:
                is_zip = member.read(4) == b"PK\x03\x04"
            if is_zip:
                yield from names_in_zip(io.BytesIO(_member(archive, name)))


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    if archive.getinfo(name).file_size > _MAX_BYTES:
        raise UnreadablePickle(f"{name} is larger than {_MAX_BYTES} bytes")
    return archive.read(name)
