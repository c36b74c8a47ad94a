"""What the static reader sees in pickles, honest and not. Nothing here is ever loaded."""

from __future__ import annotations

import bz2
import datetime
import gzip
import io
import lzma
import os
import pickle
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.formats.joblib_pickles import WRAPPER, read_joblib
from builder.formats.pickle_files import report_of
from builder.formats.pickle_globals import is_allowed, not_allowed
from builder.formats.pickles import COMPUTED, UnreadablePickle, read_pickle

ROOT = Path(__file__).resolve().parents[3]


class Evil:
    """Pickles as a call of os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def global_of(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


def array_of(dtype: bytes, payload: bytes, *, count: int = 1, frame: bytes = b"") -> bytes:
    """What joblib writes for an array: its wrapper, and then its bytes."""
    module, _, name = WRAPPER.rpartition(".")
    state = b"}(" + text("dtype") + dtype + text("shape") + b"K" + bytes([count]) + b"\x85" + b"u"
    return frame + global_of(module, name) + b")\x81" + state + b"b" + payload


FLOATS = global_of("numpy", "dtype") + text("f8") + b"\x89\x88\x87R"
OBJECTS = global_of("numpy", "dtype") + text("O8") + b"\x89\x88\x87R"
CALL = global_of("posix", "system") + text("touch canary") + b"\x85R"


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_names_what_it_calls(protocol: int) -> None:
    report = read_pickle(io.BytesIO(pickle.dumps([1, Evil(), {"a": (Evil(), 2.5)}], protocol)))
    assert not_allowed(report.names) == ("posix.system",)
    assert report.called == ("posix.system",)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_honest_values_need_no_question(protocol: int) -> None:
    value = [np.arange(6.0).reshape(2, 3), np.float32(2), np.array(["a", None], dtype=object), OrderedDict(a=1)]
    value += [np.random.RandomState(0), datetime.date(2026, 1, 1), {1, 2}, frozenset({3}), b"bytes", slice(1, 2)]
    report = read_pickle(io.BytesIO(pickle.dumps(value, protocol)))
    assert report.names
    assert not_allowed(report.names) == ()


def test_memoised_names_are_resolved() -> None:
    stream = (
        b"\x80\x04" + text("posix") + b"\x940" + text("system") + b"\x940" + b"h\x00h\x01\x93" + text("x") + b"\x85R."
    )
    assert read_pickle(io.BytesIO(stream)).names == ("posix.system",)


@pytest.mark.parametrize(
    ("stream", "names"),
    [
        (b"(S'touch canary'\nios\nsystem\n.", ("os.system",)),
        (b"(cos\nsystem\nS'touch canary'\no.", ("os.system",)),
        (b"\x80\x02\x82\x05.", ("copyreg.extension-5",)),
        (b"\x80\x04" + text("os") + global_of("builtins", "str") + text("system") + b"\x85R\x93.", (COMPUTED,)),
        (b"\x80\x04" + global_of("os", "path.os.system") + b".", ("os:path.os.system",)),
        (b"\x80\x04" + CALL + b")R.", ("posix.system", COMPUTED)),
    ],
)
def test_every_way_to_a_callable_is_seen(stream: bytes, names: tuple[str, ...]) -> None:
    assert set(names) <= set(not_allowed(read_pickle(io.BytesIO(stream)).names))


def test_a_class_that_is_changed_is_named() -> None:
    stream = b"\x80\x04" + global_of("sklearn.svm._classes", "SVC") + b"N}" + text("fit") + b"Ns\x86b."
    assert read_pickle(io.BytesIO(stream)).patched == ("sklearn.svm._classes.SVC",)


def test_the_bytes_of_arrays_are_stepped_over() -> None:
    payload = CALL.ljust(16, b"\0")[:16]
    report = read_joblib(io.BytesIO(b"\x80\x04" + array_of(FLOATS, payload, count=2) + CALL + b"\x86."))
    assert report.names == (WRAPPER, "numpy.dtype", "posix.system")


def test_the_pickle_inside_an_array_of_objects_is_read() -> None:
    report = read_joblib(io.BytesIO(b"\x80\x04" + array_of(OBJECTS, pickle.dumps(Evil())) + b"."))
    assert "posix.system" in report.names


def _in_a_frame() -> bytes:
    inner = array_of(FLOATS, text("x" * 4) + b"0N.")
    return b"\x80\x04\x95" + struct.pack("<Q", len(inner)) + inner + CALL + b"."


def _through_a_call() -> bytes:
    module, _, name = WRAPPER.rpartition(".")
    return b"\x80\x04" + global_of("builtins", "tuple") + global_of(module, name) + b")\x81\x85\x85R."


def _fetched_again() -> bytes:
    module, _, name = WRAPPER.rpartition(".")
    return b"\x80\x04" + global_of(module, name) + b")\x81\x94h\x00\x86."


def _two_faced() -> bytes:
    flags = b"K\x01"  # says that floats hold objects, so that joblib would unpickle instead of stepping over them
    state = b"(K\x03" + text("<") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + flags + b"tb"
    return b"\x80\x04" + array_of(FLOATS + state, b"\0" * 8) + b"."


@pytest.mark.parametrize("write", [_in_a_frame, _through_a_call, _fetched_again, _two_faced])
def test_arrays_that_could_hide_opcodes_are_not_read(write: Callable[[], bytes]) -> None:
    with pytest.raises(UnreadablePickle):
        read_joblib(io.BytesIO(write()))


@pytest.mark.parametrize("length", [0, 1, 40, 200, 5000])
def test_what_is_cut_off_is_not_read(length: int) -> None:
    whole = pickle.dumps(list(range(5000)), 4)
    with pytest.raises(UnreadablePickle):
        read_pickle(io.BytesIO(whole[:length]))


@pytest.mark.parametrize("compress", [bytes, zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compression_hides_nothing(compress: Callable[[bytes], bytes]) -> None:
    file = io.BytesIO(compress(pickle.dumps(Evil(), 4)))
    assert report_of(file).called == ("posix.system",)


def test_the_example_loads_without_a_question() -> None:
    with (ROOT / "examples" / "sklearn-pipeline" / "pipeline.joblib").open("rb") as file:
        report = report_of(file)
    assert "sklearn.ensemble._forest.RandomForestClassifier" in report.names
    assert not_allowed(report.names) == ()
    assert report.versions == ("1.9.1",)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "builtins.eval",
            "builtins.exec",
            "builtins.getattr",
            "builtins.__import__",
            "builtins.open",
            "builtins.type",
        ),
        *("os.system", "posix.system", "operator.attrgetter", "collections.namedtuple", "importlib.import_module"),
        *("numpy.core._ufunc_reconstruct", "numpy._core._ufunc_reconstruct", "numpy.load", "numpy.fromfile"),
        *("numpy.testing._private.utils.runstring", "numpy.f2py.compile", "joblib.load", "joblib.memory.Memory"),
        *("joblib.numpy_pickle_compat.NDArrayWrapper", "scipy.stats._distn_infrastructure.rv_continuous"),
        *("sklearn.utils._testing.SVC", "sklearn.externals.joblib.SVC", "sklearn.datasets._base.load_files"),
        *("sklearn.svm.os.system", "xsklearn.svm._classes.SVC", "SVC", "", "sklearn.SVC.fit", COMPUTED),
    ],
)
def test_what_is_not_on_the_list(name: str) -> None:
    assert not is_allowed(name)


@pytest.mark.parametrize(
    "name",
    ["sklearn.ensemble.forest.RandomForestClassifier", "sklearn.tree._tree.Tree", "numpy._core.multiarray.scalar"],
)
def test_what_is_on_the_list_wherever_a_version_keeps_it(name: str) -> None:
    assert is_allowed(name)
