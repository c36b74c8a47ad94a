"""Reads what a joblib file would do: a pickle with the raw bytes of numpy arrays between its opcodes.

A reader that lost its place there would take weights for opcodes, or opcodes for weights; so every array's description
is read from the symbols, and what joblib would not have written is an UnreadablePickle.
"""

from __future__ import annotations

import re
from typing import Any, BinaryIO

from builder.formats.pickles import UNKNOWN, Machine, Made, Name, PickleReport, Seen, UnreadablePickle, report

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_CHUNK = 1 << 20


def read_joblib(stream: BinaryIO) -> PickleReport:
    """What ``joblib.load(stream)`` would name and call; ``stream`` is decompressed already. Raises UnreadablePickle."""
    return report(_JoblibMachine(stream, Seen()))


class _JoblibMachine(Machine):
    """Follows joblib.numpy_pickle.NumpyUnpickler: after the BUILD of a NumpyArrayWrapper come the array's bytes.

    The wrapper is made, memoised and built, and nothing else ever touches it: so it cannot hide in the result of
    a call, where we would not see that the unpickler goes on behind an array.
    """

    def pop(self) -> Any:
        return _no_wrapper(super().pop())

    def pop_group(self) -> list[Any]:
        return [_no_wrapper(value) for value in super().pop_group()]

    def get(self, place: int) -> None:
        value = self.memo[place]
        self.stack.append(value if isinstance(value, Name) else _no_wrapper(value))

    def make(self, keywords: Any = None) -> None:
        arguments, maker = self.pop(), super().pop()
        self.call(maker, (arguments, keywords))

    def build(self) -> None:
        super().build()
        target = self.stack[-1]
        if not _is_wrapper(target):
            return
        if self.frame_end > self.stream.tell():
            raise UnreadablePickle("an array stands inside a frame, where joblib does not write it")
        if not isinstance(target.state, dict) or not all(type(key) is str for key in target.state):
            raise UnreadablePickle("an array has no readable description")
        self.stack[-1] = UNKNOWN
        self._skip_array(target.state)

    def _skip_array(self, wrapper: dict[Any, Any]) -> None:
        """Step over the bytes of an array, as NumpyArrayWrapper.read_array reads them."""
        size = _element_size(wrapper["dtype"])
        if size is None:
            _ObjectsMachine(self.stream, self.seen).run()
            return
        alignment = wrapper.get("numpy_array_alignment_bytes")
        if alignment is not None:
            if type(alignment) is not int:
                raise UnreadablePickle("an array has no readable alignment")
            self._skip(self.stream.read(1)[0])
        count, shape = 1, wrapper["shape"]
        if not isinstance(shape, tuple) or not all(type(dim) is int and dim >= 0 for dim in shape):
            raise UnreadablePickle("an array has no readable shape")
        for dim in shape:
            count *= dim
        self._skip(count * size)

    def _skip(self, length: int) -> None:
        while length:
            got = len(self.stream.read(min(length, _CHUNK)))
            if not got:
                raise UnreadablePickle("it ends in the middle of an array")
            length -= got


class _ObjectsMachine(Machine):
    """The pickle that stands where the bytes of an array of objects would: read without joblib's extension."""

    def look_up(self, module: Any, name: Any) -> None:
        super().look_up(module, name)
        _no_wrapper(self.stack[-1])


def _is_wrapper(value: Any) -> bool:
    return isinstance(value, Made) and isinstance(value.maker, Name) and value.maker.name == WRAPPER


def _no_wrapper(value: Any) -> Any:
    if _is_wrapper(value) or value == Name(WRAPPER):
        raise UnreadablePickle("it uses joblib's array wrapper as joblib does not")
    return value


def _element_size(dtype: Any) -> int | None:
    """Bytes of an element, None for objects, from the pickled numpy.dtype (numpy, descriptor.c: arraydescr_reduce).

    Its state may contradict its name; what numpy would believe then is not guessed.
    """
    named = isinstance(dtype, Made) and dtype.maker == Name("numpy.dtype") and isinstance(dtype.arguments, tuple)
    text = dtype.arguments[0] if named and dtype.arguments else None
    found = re.fullmatch(r"([biufcOSUVmM])([0-9]{1,9})", text) if isinstance(text, str) else None
    if found is None:
        raise UnreadablePickle(f"an array has the datatype {text!r}, which joblib does not write")
    code, state = found[1], dtype.state
    size = int(found[2])
    if state is not None:
        if not isinstance(state, tuple) or len(state) < 8 or state[2] is not None or type(state[7]) is not int:
            raise UnreadablePickle("an array has a datatype that cannot be read")
        if bool(state[7] & 1) != (code == "O"):  # NPY_ITEM_REFCOUNT: what dtype.hasobject reads
            raise UnreadablePickle("an array has records that hold objects")
        size = state[5] if code in "SUV" else size
    elif code in "UV":
        raise UnreadablePickle("an array has a datatype that cannot be read")
    if type(size) is not int or size < 0:
        raise UnreadablePickle("an array has a datatype that cannot be read")
    return None if code == "O" else size
