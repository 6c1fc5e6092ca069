"""Arrays in a pickle (Paddle's ``.pdparams``, ``.pickle``), read without Python's unpickler.

An unpickler calls what a file names. This reader knows the few instructions by which dictionaries of numpy arrays are
written (protocols 2 to 5), and ten names, none of which it calls: it builds what they would. Whatever else a file
asks for is refused. The bytes of the arrays stay in the mapped file until they are wanted.

Python's own ``pickle.Unpickler`` with a list of allowed names was not enough: it allocates what a file tells it to, and
a short chain of nested tuples as a key keeps it busy for ever.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from models.official.stored import Array, StoredTensor, by, map_file

Tree = dict[str, Any]
"""Dictionaries of names; the leaves are StoredTensor, numbers, texts, None, and tuples or lists of them."""

_DTYPES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
_LONG_TEXT = 4096  # bytes; longer ones are the bytes of arrays in protocol 2
_MOST_SIDES = 32

_MOST_STEPS = 2_000_000  # instructions, and values in the result; a network takes some ten thousand

KNOWN_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",  # numpy 2
    "numpy.core.numeric _frombuffer": "frombuffer",  # protocol 5; by _reconstruct go arrays that are not contiguous
    "numpy._core.numeric _frombuffer": "frombuffer",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",
    "collections OrderedDict": "dict",
    "builtins tuple": "tuple",
    "__builtin__ tuple": "tuple",
}
"""Module and name -> what it stands for here."""


def read_pickle(file: Path) -> Tree:
    """What a file has, as dictionaries of tensors.

    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, cut off, or no pickle of nothing but arrays; the message says what it asks for.
    """
    data = map_file(file)
    try:
        tree = _Reader(data, file).read()
    except (_Refused, RecursionError) as error:
        reason = error if isinstance(error, _Refused) else "its dictionaries are nested too deeply"
        raise ValueError(f"{file}: not read, {reason}") from None
    if not isinstance(tree, dict):
        raise ValueError(f"{file}: not read, it is no dictionary of arrays")
    return tree


def is_pickle(data: NDArray[np.uint8]) -> bool:
    """Whether bytes begin as a pickle of protocol 2 to 5 does."""
    return data.size > 2 and data[0] == 0x80 and 2 <= data[1] <= 5


class _Refused(Exception):
    """Something that no file of arrays has; the message completes "not read, ..."."""


class _Text:
    """A long text that is not decoded yet: protocol 2 writes the bytes of arrays as the text with these code points."""

    def __init__(self, raw: NDArray[np.uint8]) -> None:
        self.raw = raw

    def latin1(self) -> bytes:
        return self.raw.tobytes().decode("utf-8").encode("latin-1")


class _Dtype:
    """``numpy.dtype``, before and after its byte order is set."""

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def value(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.code)


@dataclass(frozen=True)
class _Name:
    """One of the known names, as a value."""

    kind: str


class _Pending:
    """A ``numpy.ndarray`` whose state comes later."""

    tensor: StoredTensor | None = None


_MARK = object()


class _Reader:
    """A stack, a memo, and a method for every instruction that is known."""

    def __init__(self, data: NDArray[np.uint8], file: Path) -> None:
        self.data, self.file, self.place = data, file, 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def read(self) -> Any:
        if not is_pickle(self.data):
            raise _Refused("it is no pickle")
        self.place = 2
        for _ in range(_MOST_STEPS):
            code = self._bytes(1)
            if code == b".":
                return _finished(self._pop(), iter(range(_MOST_STEPS)))
            step = _STEPS.get(code)
            if step is None:
                raise _Refused(f"instruction {code!r} at byte {self.place - 1} is none that writes arrays")
            step(self)
        raise _Refused("it has far more instructions than the arrays of a network need")

    # -- the file --------------------------------------------------------------------------------------------------

    def _view(self, count: int) -> NDArray[np.uint8]:
        if count > self.data.size - self.place:
            raise _Refused(f"it is cut off: it ends at byte {self.data.size}")
        self.place += count
        return self.data[self.place - count : self.place]

    def _bytes(self, count: int) -> bytes:
        return self._view(count).tobytes()

    def _unsigned(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "little")

    def _line(self) -> str:
        end = self.place
        while end < min(self.data.size, self.place + 256) and self.data[end] != 10:
            end += 1
        text = self._bytes(end - self.place + 1)
        return text[:-1].decode("ascii", "replace")

    # -- the stack -------------------------------------------------------------------------------------------------

    def _push(self, value: Any) -> None:
        self.stack.append(value)

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise _Refused("damaged: it takes what is not there")
        return self.stack.pop()

    def _marked(self) -> list[Any]:
        """Everything after the last mark."""
        taken: list[Any] = []
        while self.stack:
            value = self.stack.pop()
            if value is _MARK:
                return taken[::-1]
            taken.append(value)
        raise _Refused("damaged: it takes what is not there")

    # -- instructions ----------------------------------------------------------------------------------------------

    def constant(self, value: Any) -> None:
        self._push(value)

    def mark(self) -> None:
        self._push(_MARK)

    def frame(self) -> None:
        self._bytes(8)

    def unsigned(self, size: int) -> None:
        self._push(self._unsigned(size))

    def signed(self, size: int) -> None:
        self._push(int.from_bytes(self._bytes(size), "little", signed=True))

    def long(self) -> None:
        self.signed(self._unsigned(1))

    def float(self) -> None:
        self._push(struct.unpack(">d", self._bytes(8))[0])

    def raw(self, size: int) -> None:
        """Bytes, as a view."""
        self._push(self._view(self._unsigned(size)))

    def text(self, size: int) -> None:
        view = self._view(self._unsigned(size))
        if view.size > _LONG_TEXT:
            self._push(_Text(view))
            return
        try:
            self._push(view.tobytes().decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            raise _Refused("damaged: a text in it is none") from None

    def memoize(self) -> None:
        self._remember(len(self.memo))

    def put(self, size: int) -> None:
        self._remember(self._unsigned(size))

    def _remember(self, number: int) -> None:
        value = self._pop()
        self.memo[number] = value
        self._push(value)

    def get(self, size: int) -> None:
        number = self._unsigned(size)
        if number not in self.memo:
            raise _Refused("damaged: it takes what is not there")
        self._push(self.memo[number])

    def tuple_of(self, count: int) -> None:
        values = [self._pop() for _ in range(count)]
        self._push(tuple(values[::-1]))

    def marked_tuple(self) -> None:
        self._push(tuple(self._marked()))

    def empty_dict(self) -> None:
        self._push({})

    def empty_list(self) -> None:
        self._push([])

    def append(self) -> None:
        self._extend([self._pop()])

    def appends(self) -> None:
        self._extend(self._marked())

    def _extend(self, values: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, list):
            raise _Refused("damaged: it appends to what is no list")
        target += values
        self._push(target)

    def set_item(self) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value])

    def set_items(self) -> None:
        self._fill(self._marked())

    def _fill(self, pairs: list[Any]) -> None:
        target = self._pop()
        if not isinstance(target, dict) or len(pairs) % 2:
            raise _Refused("damaged: it puts entries into what is no dictionary")
        for key, value in zip(pairs[::2], pairs[1::2]):
            if not isinstance(key, (str, int)):
                raise _Refused("a key in it is no name")
            target[str(key)] = value
        self._push(target)

    def global_lines(self) -> None:
        self._name(self._line(), self._line())

    def global_of_stack(self) -> None:
        name, module = self._pop(), self._pop()
        self._name(module, name)

    def _name(self, module: Any, name: Any) -> None:
        kind = KNOWN_NAMES.get(f"{module} {name}") if isinstance(module, str) and isinstance(name, str) else None
        if kind is None:
            raise _Refused(f"it asks for {_short(module)}.{_short(name)}, which no file of arrays needs")
        self._push(_Name(kind))

    def reduce(self) -> None:
        """What one of the known names would make of its arguments."""
        arguments, name = self._pop(), self._pop()
        if not isinstance(arguments, tuple) or not isinstance(name, _Name):
            _unexpected("a call")
        texts = tuple(each for each in arguments if isinstance(each, str))
        match name.kind, len(arguments):
            case "array", 3 if isinstance(arguments[0], _Name) and arguments[0].kind == "ndarray":
                self._push(_Pending())
            case "frombuffer", 4 if arguments[3] in ("C", "F"):
                raw, dtype, shape, order = arguments
                self._push(_tensor(shape, dtype, order == "F", raw, file=self.file))
            case "frombuffer", 5 if arguments[3] == "K" and isinstance(arguments[4], tuple):
                raw, dtype, shape, _, axes = arguments
                self._push(_tensor(shape, dtype, False, raw, axes, file=self.file))
            case "dtype", 3 if texts and texts[0] in _DTYPES:
                self._push(_Dtype(texts[0]))
            case "dtype", _:
                raise _Refused("an array in it is not of plain numbers")
            case "encode", 2 if texts and texts[-1] in ("latin1", "latin-1"):
                self._push(_encoded(arguments[0]))
            case "dict", 0:
                self._push({})
            case "tuple", 1 if isinstance(arguments[0], (tuple, list)):
                self._push(tuple(arguments[0]))
            case _:
                _unexpected(f"a call of {name.kind}")

    def build(self) -> None:
        """The state of an array or of a type."""
        state, target = self._pop(), self._pop()
        if not isinstance(state, tuple):
            _unexpected("a state")
        order = state[1] if len(state) > 1 and isinstance(state[1], str) else ""
        if isinstance(target, _Dtype) and order in ("<", ">", "|"):
            target.order = order
        elif isinstance(target, _Pending) and len(state) == 5:
            target.tensor = _tensor(*state[1:], file=self.file)
        else:
            _unexpected("a state")
        self._push(target)


def _short(value: object) -> str:
    return value[:80] if isinstance(value, str) else "something that is no name"


def _unexpected(what: str) -> NoReturn:
    raise _Refused(f"{what} in it has a form that no file of arrays has")


def _encoded(text: object) -> _Text | NDArray[np.uint8]:
    if isinstance(text, _Text):
        return text
    if isinstance(text, str):
        try:
            return np.frombuffer(text.encode("latin-1"), np.uint8)
        except UnicodeEncodeError:
            pass
    return _unexpected("a text")


def _tensor(
    shape: object, dtype: object, fortran: object, raw: object, axes: object = None, *, file: Path
) -> StoredTensor:
    """A ``numpy.ndarray`` from its state; with ``axes`` that order of the axes of ``shape``."""
    if not isinstance(shape, tuple) or len(shape) > _MOST_SIDES or not all(type(side) is int for side in shape):
        _unexpected("a shape")
    if not isinstance(dtype, _Dtype):
        raise _Refused("an array in it is not of plain numbers")
    if not isinstance(raw, (_Text, np.ndarray)):
        _unexpected("an array")
    if axes is not None and not (
        isinstance(axes, tuple) and all(type(axis) is int for axis in axes) and sorted(axes) == list(range(len(shape)))
    ):
        _unexpected("an order of axes")
    kind, count = dtype.value(), 1
    for side in shape:
        count *= side
    if isinstance(raw, np.ndarray) and (raw.size != count * kind.itemsize or min(shape, default=0) < 0):
        raise _Refused(f"damaged: an array {by(shape)} has {raw.size} bytes")
    data = raw

    def load() -> Array:
        try:
            values = np.frombuffer(data.latin1(), np.uint8) if isinstance(data, _Text) else data
        except UnicodeError:
            raise ValueError(f"{file}: damaged, the bytes of an array {by(shape)} are none") from None
        if values.size != count * kind.itemsize:
            raise ValueError(f"{file}: damaged, an array {by(shape)} has {values.size} bytes")
        array = np.frombuffer(values, kind).reshape(shape, order="F" if fortran else "C")
        return array if axes is None else array.transpose(axes)

    return StoredTensor(shape if axes is None else tuple(shape[axis] for axis in axes), kind, load)


def _finished(value: Any, budget: Iterator[int]) -> Any:
    """The same with tensors in the place of arrays that were under construction; a value may be shared, and is then
    counted again."""
    if next(budget, None) is None:
        raise _Refused("it has far more values than a network needs")
    if isinstance(value, _Pending):
        return value.tensor if value.tensor is not None else _unexpected("an array")
    if isinstance(value, dict):
        return {key: _finished(each, budget) for key, each in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_finished(each, budget) for each in value)
    return value


_STEPS: dict[bytes, Callable[[_Reader], None]] = {
    b"(": _Reader.mark,
    b"\x95": _Reader.frame,
    b"N": lambda reader: reader.constant(None),
    b"\x88": lambda reader: reader.constant(True),
    b"\x89": lambda reader: reader.constant(False),
    b"K": lambda reader: reader.unsigned(1),
    b"M": lambda reader: reader.unsigned(2),
    b"J": lambda reader: reader.signed(4),
    b"\x8a": _Reader.long,
    b"G": _Reader.float,
    b"C": lambda reader: reader.raw(1),
    b"B": lambda reader: reader.raw(4),
    b"\x8e": lambda reader: reader.raw(8),
    b"\x96": lambda reader: reader.raw(8),
    b"\x8c": lambda reader: reader.text(1),
    b"X": lambda reader: reader.text(4),
    b"\x8d": lambda reader: reader.text(8),
    b"\x94": _Reader.memoize,
    b"q": lambda reader: reader.put(1),
    b"r": lambda reader: reader.put(4),
    b"h": lambda reader: reader.get(1),
    b"j": lambda reader: reader.get(4),
    b")": lambda reader: reader.tuple_of(0),
    b"\x85": lambda reader: reader.tuple_of(1),
    b"\x86": lambda reader: reader.tuple_of(2),
    b"\x87": lambda reader: reader.tuple_of(3),
    b"t": _Reader.marked_tuple,
    b"}": _Reader.empty_dict,
    b"]": _Reader.empty_list,
    b"a": _Reader.append,
    b"e": _Reader.appends,
    b"s": _Reader.set_item,
    b"u": _Reader.set_items,
    b"c": _Reader.global_lines,
    b"\x93": _Reader.global_of_stack,
    b"R": _Reader.reduce,
    b"b": _Reader.build,
}
"""Instruction of the pickle machine (Python's ``pickletools``) -> what it does here."""
