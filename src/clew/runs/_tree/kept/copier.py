"""
JSON-shaped, bounded copies of the values of a run.

A copy is made at once and on the calling thread, because the program may change the value a moment later. The value
itself is not changed, and no exception of its methods leaves this module. Exceptions are described in
`clew.runs._tree.kept.errors`, the inputs of a call are read in `clew.runs._tree.kept.signature`.
"""

from __future__ import annotations

from collections import UserDict, UserList, UserString, deque
from collections.abc import MappingView
from functools import partial
from threading import get_ident
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from clew._shared.incidents import report
from clew.runs._tree.kept.at_once import first_items, first_of_view, repeated
from clew.runs._tree.kept.hiding import HIDDEN, hidden_places, hide_in_text, hiding
from clew.runs._tree.kept.objects import fields_of
from clew.runs._tree.kept.sizes import ITEM_BYTES, LARGE_BYTES, SHORT_CHARS, note, size_of_text, waiting
from clew.runs._tree.kept.texts import bounded_repr, cut

__all__ = (
    "call_without_tracing",
    "copy_for_run",
    "copy_item",
    "copy_measured",
    "copy_value",
    "set_untraced_caller",
    "unreadable",
)

MAX_STRING_CHARS = 65_536
MAX_CHARS = 1 << 22
MAX_ITEMS = 10_000
MAX_DEPTH = 16

# Python refuses to write an int that is not much larger than this as text.
MAX_INT = 1 << 4096
_MIN_INT = -MAX_INT  # a constant: negating 4096 bits at each use would make a new number
_INFINITY = float("inf")

# Types of the standard library that show the items of another object, or wrap a plain value in `data`. The `repr` of
# one of these would be as long as all of its items.
_VIEWS = frozenset((type({}.keys()), type({}.values()), type({}.items()), MappingView))
_WRAPPERS: Dict[type, type] = {UserDict: dict, UserList: list, UserString: str}


# Calls a function with tracing suppressed; None until the run tree is loaded, without which nothing can be traced.
_untraced_caller: Optional[Callable[..., Any]] = None


def set_untraced_caller(caller: Callable[..., Any]) -> None:
    """
    Have `call_without_tracing` call functions through `caller(fn, *args)`.
    """
    global _untraced_caller
    _untraced_caller = caller


def call_without_tracing(fn: Callable[..., Any], *args: Any) -> Any:
    """
    Call code of the program that runs only for the sake of a copy, such as a `__repr__`, with tracing suppressed.

    Without that, a traced `__repr__` would add runs to the program's trace. As the inputs of these runs are copied in
    turn, there could be exponentially many.
    """
    return fn(*args) if _untraced_caller is None else _untraced_caller(fn, *args)


def copy_value(value: object) -> Any:
    """
    Return a JSON-shaped copy of `value` that shares nothing mutable with it.

    Tuples, sets and deques become lists. Dataclasses and Pydantic models become dicts of their fields, without those
    that would have to be loaded first, and without fields of a dataclass that are marked ``repr=False``, as most of
    these are secret or huge. Other values are replaced by their truncated `repr`. The same holds for keys; keys with
    equal text get a numeric suffix. Values under names that look like secrets are hidden.

    Strings are truncated after `MAX_STRING_CHARS`. A copy ends after `MAX_ITEMS` items and `MAX_CHARS` characters in
    all, and after `MAX_DEPTH` levels. A marker stands where something was cut.
    """
    # Most values are small and immutable. They need no copy.
    kind = type(value)
    if kind is int:
        if _MIN_INT < value < MAX_INT:  # type: ignore[operator]  # kind is int
            return value
    elif kind is str:
        if len(value) < MAX_STRING_CHARS:  # type: ignore[arg-type]  # kind is str
            return value
    elif value is None or kind is bool:
        return value
    return copy_measured(value)[0]


def copy_for_run(value: object) -> Any:
    """
    Return a copy as `copy_value` does, and note its size for the run that takes it, if it is a large container.

    The copies that wait for the same run, such as the arguments of a call, have one bound together.
    """
    kind = type(value)
    if kind is int:
        if _MIN_INT < value < MAX_INT:  # type: ignore[operator]  # kind is int
            return value
    elif kind is str:
        if len(value) < MAX_STRING_CHARS:  # type: ignore[arg-type]  # kind is str
            return value
    elif value is None or kind is bool:
        return value
    copied, size = copy_measured(value, MAX_CHARS - waiting.get(get_ident(), 0) if waiting else MAX_CHARS)
    if size >= LARGE_BYTES and kind is not str:
        note(size)
    return copied


def copy_item(value: object) -> Any:
    """
    Return a copy of an item of a stream, and note its size, unless it is a short text or a number.
    """
    kind = type(value)
    if kind is int:
        if _MIN_INT < value < MAX_INT:  # type: ignore[operator]  # kind is int
            return value
    elif value is None or kind is bool or (kind is str and len(value) < SHORT_CHARS):  # type: ignore[arg-type]  # a str
        return value
    copied, size = copy_measured(value)
    note(size)
    return copied


def copy_measured(value: object, most_chars: int = MAX_CHARS) -> Tuple[Any, int]:
    """
    Return a copy as `copy_value` does, and about how many bytes it takes.
    """
    copier = _Copier(most_chars)
    copied = copier.copy(value, 0)
    if copier.is_cut:
        report("payloads_cut", "a value was larger than what a run keeps of it, and was cut; record less of it")
    return copied, most_chars - copier.chars_left + ITEM_BYTES * (MAX_ITEMS - copier.items_left)


class _Copier:
    # One copier for each payload: it counts the items and characters of the whole payload, at any depth.
    __slots__ = ("chars_left", "is_cut", "items_left")

    def __init__(self, most_chars: int) -> None:
        self.items_left = MAX_ITEMS
        self.chars_left = most_chars
        self.is_cut = False

    def copy(self, value: object, depth: int) -> Any:
        try:
            return self._copy(value, depth)
        except Exception as error:  # noqa: BLE001  the program's own __iter__, __len__, or __class__ property
            return unreadable(value, error)

    def _copy(self, value: object, depth: int) -> Any:  # noqa: PLR0911  a table of types
        # Check `type(value)`, not `isinstance`: lazy proxies answer `isinstance` by loading the object they stand for.
        # A subclass becomes the plain type by the plain type's own method, which cannot be overridden.
        given: Any = value
        kind = type(given)
        if given is None or kind is bool:
            return given
        if issubclass(kind, str):
            length = str.__len__(given)
            if length >= LARGE_BYTES:
                return self._copy_long(given)
            self.chars_left -= length
            return str.__str__(given)
        if issubclass(kind, int):
            number = int.__int__(given)
            return number if _MIN_INT < number < MAX_INT else f"<int of {number.bit_length()} bits>"
        if issubclass(kind, float):
            plain = float.__float__(given)
            return plain if -_INFINITY < plain < _INFINITY else float.__repr__(plain)
        if issubclass(kind, dict):
            return self._copy_dict(given, depth)
        container: Any
        for container in (list, tuple, set, frozenset, deque):
            if issubclass(kind, container):
                return self._copy_items(given, container, depth)
        return self._copy_object(given, depth)

    def _copy_object(self, value: Any, depth: int) -> Any:
        kinds = type(value).__mro__
        if not _VIEWS.isdisjoint(kinds):
            return self._copy_items(value, None, depth)
        if MappingProxyType in kinds:
            items = call_without_tracing(lambda: first_of_view(value.items(), self.items_left + 1))
            return self._copy_pairs(value, items, depth)
        for kind, plain in _WRAPPERS.items():
            if kind in kinds and isinstance(value.data, plain):
                return self._copy(value.data, depth)
        fields, text = call_without_tracing(repeated, partial(_fields_or_text, value))
        return self._counted(hide_in_text(text)) if fields is None else self._copy_dict(fields, depth)

    def _copy_dict(self, value: Dict[Any, Any], depth: int) -> Any:
        return self._copy_pairs(value, first_items(dict, value, self.items_left + 1), depth)

    def _copy_pairs(self, value: Mapping[Any, Any], items: List[Tuple[Any, Any]], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"<dict of {len(value)} items, {depth} levels deep>"
        copied: Dict[str, Any] = {}
        numbers: Dict[str, int] = {}
        are_as_given = True  # all names so far are keys of the dict, and therefore different
        is_hidden = hiding.names
        for key, item in items:
            if not self.items_left or self.chars_left <= 0:
                copied[_free_name("...", copied, numbers)] = f"<cut: {len(value)} items>"
                self.is_cut = True
                break
            self.items_left -= 1
            name = key
            if type(key) is not str or len(key) > MAX_STRING_CHARS:
                name = self._name_of(key)
                are_as_given = False
            value_is_hidden = is_hidden[name]
            if not are_as_given:
                name = _free_name(name, copied, numbers)
            self.chars_left -= len(name)
            copied[name] = HIDDEN if value_is_hidden else self.copy(item, depth + 1)
        return copied

    def _name_of(self, key: object) -> str:
        try:
            if key is None or issubclass(type(key), (str, int, float)):
                return str(self._copy(key, 0))
            text: str = call_without_tracing(bounded_repr, key)
            return text
        except Exception as error:  # noqa: BLE001  the key's own __repr__
            return unreadable(key, error)

    def _copy_items(self, value: Any, kind: Optional[type], depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return f"<{type(value).__name__} of {len(value)} items, {depth} levels deep>"
        most = self.items_left + 1
        items = call_without_tracing(first_of_view, value, most) if kind is None else first_items(kind, value, most)
        given = type(value)
        if len(items) == 2 or (given is not list and given is not tuple):
            for place in hidden_places(given, items):
                if place < len(items):
                    items[place] = HIDDEN
        copied: List[Any] = []
        for item in items:
            if not self.items_left or self.chars_left <= 0:
                copied.append(f"<cut: {len(value)} items>")
                self.is_cut = True
                break
            self.items_left -= 1
            copied.append(self.copy(item, depth + 1))
        return copied

    def _counted(self, text: str) -> str:
        self.chars_left -= size_of_text(text)
        return text

    def _copy_long(self, text: str) -> str:
        if str.__len__(text) > MAX_STRING_CHARS:
            self.is_cut = True
        return self._counted(cut(text, MAX_STRING_CHARS))


def _fields_or_text(value: object) -> Tuple[Optional[Dict[str, Any]], str]:
    fields = fields_of(value)
    return fields, bounded_repr(value) if fields is None else ""


def unreadable(value: object, error: Exception) -> str:
    """
    Return the marker for a value whose own methods raise.
    """
    return f"<{type(value).__name__} that cannot be copied: {type(error).__name__}>"


def _free_name(name: str, taken: Dict[str, Any], numbers: Dict[str, int]) -> str:
    """
    Return the name, with a numeric suffix if another key of the dict has it already.

    `numbers` remembers the last suffix of each name, as ten thousand objects may have the same `repr`.
    """
    free = name
    while free in taken:
        numbers[name] = numbers.get(name, 1) + 1
        free = f"{name} ({numbers[name]})"
    return free
