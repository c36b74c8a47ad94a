"""What a file of torch.save names when it is loaded, read without loading it: the zip of today, and the five pickles in
a row of before 1.6 (torch/serialization.py, _legacy_save). Plain weights name a handful of torch's own constructors."""

from __future__ import annotations

import re
import zipfile
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from builder.errors import UnsupportedModel
from builder.formats.pickles import UnreadablePickle, read_pickle
from builder.model.source import ModelSource

_PLAIN = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|"
    r"torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter)|"
    r"torch\.(Float|Double|Half|BFloat16|Long|Int|Short|Char|Byte|Bool|Untyped)Storage|"
    r"torch\.storage\.UntypedStorage|torch\.serialization\._get_layout|torch\.(Size|device)"
)
_LEGACY_PICKLES = 5
"""Magic number, protocol, machine, object, keys of the storages."""


class WeightsUnreadable(UnsupportedModel):
    code = "weights-unreadable"
    message = "{path} cannot be read without loading it: {reason}"
    hint = "it was cut off, or torch.save did not write it; save the weights again, best as safetensors"


def uncommon_names(source: ModelSource, path: PurePosixPath) -> tuple[str, ...]:
    """The callables that it names beyond those of plain tensors. Raises WeightsUnreadable."""
    try:
        with source.locate(path).open("rb") as file:
            # By its first bytes, as torch.load decides: a zip may also hang at the end of other pickles.
            names = names_in_zip(file) if file.read(4) == b"PK\x03\x04" else _in_a_row(file)
    except (UnreadablePickle, zipfile.BadZipFile, OSError) as error:
        raise WeightsUnreadable(path=path, reason=error) from error
    return plain_names_removed(tuple(names))


def plain_names_removed(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those that plain tensors have no need of, each once."""
    return tuple(dict.fromkeys(name for name in names if not _PLAIN.fullmatch(name)))


def names_in_zip(file: BinaryIO) -> list[str]:
    """What the pickles in a zip of torch.save name. Raises UnreadablePickle or BadZipFile."""
    with zipfile.ZipFile(file) as archive:
        found = [name for name in archive.namelist() if name.endswith(".pkl")]
        if not found:
            raise UnreadablePickle("there is no data.pkl in it")
        return [name for member in found for name in _read(cast("BinaryIO", archive.open(member)))]


def _in_a_row(file: BinaryIO) -> list[str]:
    file.seek(0)
    return [name for _ in range(_LEGACY_PICKLES) for name in _read(file)]


def _read(stream: BinaryIO) -> tuple[str, ...]:
    with_names = read_pickle(stream)
    return (*with_names.names, *with_names.patched)
