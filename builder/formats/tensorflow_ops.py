"""Operations of TensorFlow's graphs that reach beyond numbers: Python functions, files, and other machines.

A graph is data, but these make it a program. The names are those of TensorFlow's op registry (2.21); loading runs some
of a graph, so that they are looked for before.
"""

from __future__ import annotations

import re

_REACHES_OUT = re.compile(
    r"(Eager)?PyFunc\w*"
    r"|(Read|Write)File|MatchingFiles|ImmutableConst|GenerateVocabRemapping|LoadAndRemapMatrix"
    r"|\w*(WholeFile|TextLine|TFRecord|FixedLengthRecord|LMDB|BigQuery)Reader(V\d)?"
    r"|\w*(TextLine|TFRecord|FixedLengthRecord|CSV|Sql|LMDB|MatchingFiles|Cache|Snapshot|Save|Load|DataService|File)"
    r"Dataset(V\d)?"
    r"|CreateSummary(File|Db)Writer|Debug(Identity|NanCount|NumericSummary)(V\d)?"
    r"|Rpc\w*|Remote\w*|DistributedSave|TPU\w*|Configure\w*TPU\w*"
)
_CHECKPOINTS = frozenset({"Save", "SaveV2", "SaveSlices", "MergeV2Checkpoints"})


def reaches_out(op: str) -> bool:
    """Nothing that a model computes needs it."""
    return _REACHES_OUT.fullmatch(op) is not None


def writes_checkpoints(op: str) -> bool:
    """Every SavedModel has these, to be saved again; what it computes must not use them."""
    return op in _CHECKPOINTS
