"""
Texts of values with a bound on their length and on the work: no more of a container is looked at than is kept.

The functions run code of the program, such as its `__repr__`, and let its exceptions through. Call them with
`call_without_tracing` of `clew.runs._tree.kept.copier`. A `__repr__` that the program has written is called as it is,
and its result is truncated.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, List, Set

from clew.runs._tree.kept.shapes import Raw, shape_of

__all__ = ("bounded_repr", "bounded_str", "cut")

MAX_REPR_CHARS = 4_096
_MAX_LEVELS = 16


def cut(text: str, limit: int) -> str:
    """
    Return the text as a plain `str`, truncated after `limit` characters, with a marker that gives its full length.
    """
    # By the methods of `str`: a subclass may override them. A long text of a subclass is not copied as a whole.
    length = str.__len__(text)
    if length <= limit:
        return str.__str__(text)
    return f"{str.__getitem__(text, slice(limit))}... <cut: {length} characters>"


def bounded_repr(value: object, limit: int = MAX_REPR_CHARS) -> str:
    """
    Return the `repr` of a value, truncated after `limit` characters. Of a container, only its beginning is read.
    """
    if shape_of(type(value)) is None:
        return cut(repr(value), limit)
    writer = _Writer(limit)
    try:
        writer.write(value)
    except _FullError:
        return f"{''.join(writer.parts)[:limit]}... <cut: more than {limit} characters>"
    return "".join(writer.parts)


def bounded_str(value: Any, limit: int) -> str:
    """
    Return the `str` of a value, truncated after `limit` characters.
    """
    kind = type(value)
    if issubclass(kind, str):
        return cut(value, limit)  # its type is a kind of str
    make = type.__getattribute__(kind, "__str__")
    if make is object.__str__ or issubclass(kind, (bytes, bytearray, MappingProxyType)):
        return bounded_repr(value, limit)
    if make is BaseException.__str__ or make is KeyError.__str__:
        args = BaseException.args.__get__(value)  # type: ignore[attr-defined]  # whatever the class has under that name
        if len(args) != 1:
            return bounded_repr(args, limit) if args else ""
        return (bounded_repr if make is KeyError.__str__ else bounded_str)(args[0], limit)
    return cut(str(value), limit)


class _FullError(Exception):
    pass


class _Writer:
    __slots__ = ("_above", "_left", "parts")

    def __init__(self, limit: int) -> None:
        self.parts: List[str] = []
        self._left = limit
        self._above: Set[int] = set()  # the ids of the objects around this one

    def _add(self, text: str) -> None:
        self.parts.append(text)
        self._left -= len(text)
        if self._left < 0:
            raise _FullError

    def write(self, value: Any) -> None:
        if type(value) is Raw:
            self._add(value)
            return
        read = shape_of(type(value))
        shape = str.__str__(repr(value)) if read is None else read(value, self._left + 1)
        if isinstance(shape, str):
            self._add(shape)
            return
        before, items, after = shape
        self._add(before)
        if id(value) in self._above or len(self._above) >= _MAX_LEVELS:
            self._add("...")
        else:
            self._above.add(id(value))
            separator = ""
            for item in items:
                self._add(separator)
                for part in item:
                    self.write(part)
                separator = ", "
            self._above.discard(id(value))
        self._add(after)
