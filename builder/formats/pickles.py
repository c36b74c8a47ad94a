"""Reads what a pickle would do without doing it: which callables it names, and which of them it calls.

A pickle is a program for a stack machine (Lib/pickletools.py documents every opcode). ``read_pickle`` runs that program
over symbols: nothing is imported and nothing is called. It takes any stream, so also a member of an archive. Whatever
could make the unpickler see other opcodes than we do is an UnreadablePickle.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

COMPUTED = "(a name that is computed while loading)"
_MAX_OPCODES = 50_000_000


class UnreadablePickle(ValueError):
    """It is no pickle, it is cut off, or it is written as no pickler writes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PickleReport:
    """``names`` are all callables and classes that the pickle looks up, as module.name (module:name where the name has
    dots), in the order of their appearance; ``called`` those that it calls or makes instances of; ``patched`` those
    whose own attributes it sets; ``versions`` the values of ``_sklearn_version``."""

    names: tuple[str, ...]
    called: tuple[str, ...]
    patched: tuple[str, ...]
    versions: tuple[str, ...]


def read_pickle(stream: BinaryIO) -> PickleReport:
    """What ``pickle.load(stream)`` would name and call. Raises UnreadablePickle."""
    return report(Machine(stream, Seen()))


def report(machine: Machine) -> PickleReport:
    """Run it to its end. Raises UnreadablePickle."""
    machine.run()
    seen = machine.seen
    return PickleReport(
        names=tuple(seen.names), called=tuple(seen.called), patched=tuple(seen.patched), versions=tuple(seen.versions)
    )


@dataclass(slots=True)
class Seen:
    """Ordered sets, shared by a pickle and those inside it."""

    names: dict[str, None] = field(default_factory=dict)
    called: dict[str, None] = field(default_factory=dict)
    patched: dict[str, None] = field(default_factory=dict)
    versions: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Name:
    """A global that was looked up."""

    name: str


@dataclass(eq=False, slots=True)
class Made:
    """What a call gave: ``maker`` is what was called, ``state`` what BUILD set last."""

    maker: Any
    arguments: Any
    state: Any = None


_MARK = object()
UNKNOWN = object()
"""A value that no opcode writes out."""


class Machine:
    """Runs the opcodes over symbols."""

    def __init__(self, stream: BinaryIO, seen: Seen) -> None:
        self.stream = stream
        self.seen = seen
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.frame_end = 0

    def run(self) -> None:
        try:
            for number, (opcode, argument, position) in enumerate(pickletools.genops(self.stream)):
                if number == _MAX_OPCODES:
                    raise UnreadablePickle(f"it has more than {_MAX_OPCODES} opcodes")
                if opcode.name == "FRAME":
                    self.frame_end = (position or 0) + 9 + int(argument or 0)
                _STEPS[opcode.name](self, argument)
        except UnreadablePickle:
            raise
        except (ValueError, LookupError, TypeError, OverflowError, MemoryError, EOFError, OSError) as error:
            raise UnreadablePickle(f"{type(error).__name__}: {error}") from error
        if self.frame_end > self.stream.tell():
            raise UnreadablePickle("it ends before its frame does")

    def pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise UnreadablePickle("an operand is missing")
        return self.stack.pop()

    def top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise UnreadablePickle("an operand is missing")
        return self.stack[-1]

    def pop_group(self) -> list[Any]:
        """The operands above the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                group = self.stack[place + 1 :]
                del self.stack[place:]
                return group
        raise UnreadablePickle("a group of operands has no beginning")

    def get(self, place: int) -> None:
        self.stack.append(self.memo[place])

    def look_up(self, module: Any, name: Any) -> None:
        full = COMPUTED
        if isinstance(module, str) and isinstance(name, str):
            full = f"{module}:{name}" if "." in name else f"{module}.{name}"
        self.seen.names[full] = None
        self.stack.append(Name(full))

    def call(self, maker: Any, arguments: Any) -> None:
        name = maker.name if isinstance(maker, Name) else COMPUTED
        self.seen.names[name] = self.seen.called[name] = None
        self.stack.append(Made(maker, arguments))

    def make(self, keywords: Any = None) -> None:
        """NEWOBJ: an instance of a class, without its __init__."""
        arguments, maker = self.pop(), self.pop()
        self.call(maker, (arguments, keywords))

    def build(self) -> None:
        state, target = self.pop(), self.top()
        if isinstance(target, Name):
            self.seen.patched[target.name] = None
        elif isinstance(target, Made):
            target.state = state

    def set_items(self, items: list[Any]) -> None:
        target = self.top()
        for key, value in zip(items[::2], items[1::2], strict=True):
            if key == "_sklearn_version" and isinstance(value, str):
                self.seen.versions[value] = None
            if isinstance(target, dict) and isinstance(key, Hashable):
                target[key] = value


Step = Callable[[Machine, Any], None]


def _push(machine: Machine, argument: Any) -> None:
    machine.stack.append(argument)


def _nothing(machine: Machine, argument: Any) -> None:
    pass


def _pop(machine: Machine, argument: Any) -> None:
    machine.pop()


def _pop_group(machine: Machine, argument: Any) -> None:
    machine.pop_group()


def _persistent(machine: Machine, argument: Any) -> None:
    machine.pop()
    machine.stack.append(UNKNOWN)


def _frozenset(machine: Machine, argument: Any) -> None:
    machine.pop_group()
    machine.stack.append(UNKNOWN)


def _duplicate(machine: Machine, argument: Any) -> None:
    value = machine.pop()
    machine.stack.extend((value, value))


def _drop(machine: Machine, argument: Any) -> None:
    if machine.stack and machine.stack[-1] is _MARK:
        machine.stack.pop()
    else:
        machine.pop()


def _put(machine: Machine, argument: int) -> None:
    machine.memo[argument] = machine.top()


def _extend(machine: Machine, items: list[Any]) -> None:
    target = machine.top()
    if isinstance(target, list):
        target.extend(items)


def _set_item(machine: Machine, argument: Any) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


def _dict(machine: Machine, argument: Any) -> None:
    items = machine.pop_group()
    machine.stack.append({})
    machine.set_items(items)


def _global(machine: Machine, argument: str) -> None:
    module, _, name = argument.partition(" ")
    machine.look_up(module, name)


def _stack_global(machine: Machine, argument: Any) -> None:
    name, module = machine.pop(), machine.pop()
    machine.look_up(module, name)


def _reduce(machine: Machine, argument: Any) -> None:
    arguments, maker = machine.pop(), machine.pop()
    machine.call(maker, arguments)


def _inst(machine: Machine, argument: str) -> None:
    arguments = machine.pop_group()
    _global(machine, argument)
    machine.call(machine.pop(), tuple(arguments))


def _obj(machine: Machine, argument: Any) -> None:
    maker, *arguments = machine.pop_group()
    machine.call(maker, tuple(arguments))


def _tuple_of(count: int) -> Step:
    def step(machine: Machine, argument: Any) -> None:
        machine.stack.append(tuple(reversed([machine.pop() for _ in range(count)])))

    return step


def _extension(machine: Machine, argument: int) -> None:
    """copyreg's registry says what the number means, in the process that loads."""
    machine.look_up("copyreg", f"extension-{argument}")


_LITERALS = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"),
    *("BINUNICODE8", "FLOAT", "BINFLOAT"),
)
_STEPS: dict[str, Step] = {
    **dict.fromkeys(_LITERALS, _push),
    **dict.fromkeys(("PROTO", "FRAME", "READONLY_BUFFER"), _nothing),
    "STOP": _pop,
    "NONE": lambda m, _: m.stack.append(None),
    "NEWTRUE": lambda m, _: m.stack.append(True),
    "NEWFALSE": lambda m, _: m.stack.append(False),
    "NEXT_BUFFER": lambda m, _: m.stack.append(UNKNOWN),
    "PERSID": lambda m, _: m.stack.append(UNKNOWN),
    "BINPERSID": _persistent,
    "MARK": lambda m, _: m.stack.append(_MARK),
    "POP": _drop,
    "POP_MARK": _pop_group,
    "DUP": _duplicate,
    "PUT": _put,
    "BINPUT": _put,
    "LONG_BINPUT": _put,
    "MEMOIZE": lambda m, _: _put(m, len(m.memo)),
    "GET": lambda m, place: m.get(place),
    "BINGET": lambda m, place: m.get(place),
    "LONG_BINGET": lambda m, place: m.get(place),
    "EMPTY_LIST": lambda m, _: m.stack.append([]),
    "EMPTY_DICT": lambda m, _: m.stack.append({}),
    "EMPTY_TUPLE": lambda m, _: m.stack.append(()),
    "EMPTY_SET": lambda m, _: m.stack.append(UNKNOWN),
    "LIST": lambda m, _: m.stack.append(m.pop_group()),
    "TUPLE": lambda m, _: m.stack.append(tuple(m.pop_group())),
    "FROZENSET": _frozenset,
    "TUPLE1": _tuple_of(1),
    "TUPLE2": _tuple_of(2),
    "TUPLE3": _tuple_of(3),
    "APPEND": lambda m, _: _extend(m, [m.pop()]),
    "APPENDS": lambda m, _: _extend(m, m.pop_group()),
    "ADDITEMS": _pop_group,
    "DICT": _dict,
    "SETITEM": _set_item,
    "SETITEMS": lambda m, _: m.set_items(m.pop_group()),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "EXT1": _extension,
    "EXT2": _extension,
    "EXT4": _extension,
    "REDUCE": _reduce,
    "BUILD": lambda m, _: m.build(),
    "INST": _inst,
    "OBJ": _obj,
    "NEWOBJ": lambda m, _: m.make(),
    "NEWOBJ_EX": lambda m, _: m.make(m.pop()),
}
