"""
Read the items of containers that other threads may change meanwhile.
"""

from __future__ import annotations

import gc
from collections import OrderedDict, deque
from contextlib import suppress
from itertools import islice
from typing import Any, Callable, Deque, Dict, Iterable, List, TypeVar

from clew._shared.locks import RUNS_WITHOUT_GIL

__all__ = ("first_items", "first_of_view", "repeated")

T = TypeVar("T")


def first_items(kind: Any, value: Any, most: int) -> List[Any]:
    """
    Return at most so many items of a container of this kind, as they are at one moment.

    With a GIL, one call in C is one moment. Without it, another thread can change the container meanwhile, and only
    the calls in `_AT_ONCE` are one moment. These read everything, so larger containers are read so only if need be.
    """
    if RUNS_WITHOUT_GIL and kind in _AT_ONCE and kind.__len__(value) <= most:
        return list(islice(_AT_ONCE[kind](value), most))
    try:
        return list(islice((dict.items if kind is dict else kind.__iter__)(value), most))
    except RuntimeError:
        return list(islice(_AT_ONCE[kind](value), most))


def _items_of_deque(value: Deque[Any]) -> List[Any]:
    items: List[Any] = []
    try:
        return repeated(lambda: list(deque.__iter__(value)))
    except RuntimeError:
        # The deque changes faster than it can be read, and no method, not even `copy`, reads it in one step. So read
        # the items one by one.
        with suppress(IndexError):
            for place in range(deque.__len__(value)):
                items.append(deque.__getitem__(value, place))  # noqa: PERF401  keep the items up to an error
        return items


_AT_ONCE: Dict[type, Callable[[Any], Iterable[Any]]] = {
    dict: lambda value: list(dict.items(value)),
    list: list.copy,
    set: lambda value: set().union(value),
    deque: _items_of_deque,
}


def first_of_view(view: Any, most: int) -> List[Any]:
    """
    Return at most so many items of the view of a dict or of another mapping.
    """
    read = _ORDERED_VIEWS.get(type(view)) if RUNS_WITHOUT_GIL else None
    if read is not None:
        # Without a GIL, the process may crash if another thread changes an OrderedDict that is iterated over. Its items
        # are read as those of a plain dict.
        (shown,) = gc.get_referents(view)
        return list(islice(list(read(shown)), most))
    try:
        return list(islice(iter(view), most))
    except RuntimeError:  # another thread has changed what it shows
        return repeated(lambda: list(view))[:most]  # of a dict's view, this is one step


_ORDERED_VIEWS: Dict[type, Callable[[Any], Iterable[Any]]] = {
    type(OrderedDict().keys()): dict.keys,
    type(OrderedDict().values()): dict.values,
    type(OrderedDict().items()): dict.items,
}


_ATTEMPTS = 10


def repeated(read: Callable[[], T]) -> T:
    """
    Return `read()`. Repeat it, some times at most, if another thread changes a container that `read` iterates over.
    """
    for _ in range(_ATTEMPTS):
        try:
            return read()
        except RuntimeError as error:  # noqa: PERF203  as it is repeated
            if type(error) is not RuntimeError or "during iteration" not in str(error):
                raise
    return read()
