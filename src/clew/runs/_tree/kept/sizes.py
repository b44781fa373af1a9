"""
About how many bytes the values of runs take, counted where they are copied.

Only large containers are counted, so that a call with other values costs nothing more. A copy is made before the run
that keeps it, so its size waits here, on its thread, until the run takes it.
"""

from __future__ import annotations

import sys
from threading import get_ident
from typing import Any, Dict, List

from clew._shared.locks import ForkSafeLock

__all__ = (
    "ITEM_BYTES",
    "LARGE_BYTES",
    "RUN_BYTES",
    "note",
    "size_of_object",
    "size_of_run",
    "size_of_text",
    "take",
    "totals",
    "waiting",
)

LARGE_BYTES = 4_096
SHORT_CHARS = 400  # texts below this length are bounded by their number alone, in a stream
ITEM_BYTES = 64  # of an item of a container, besides its text
RUN_BYTES = 1_024  # of a run, besides its values

# The bytes of copies that no run has taken yet, by thread. If it is empty, which is nearly always so, there is nothing
# to take. A copy whose run was never made is counted for the next run of the thread: an error that does not add up.
waiting: Dict[int, int] = {}


class _Totals:
    __slots__ = ("taken",)

    def __init__(self) -> None:
        self.taken = 0  # bytes that runs have ever taken: who keeps runs looks at their sizes when it has grown

    def add(self, size: int) -> None:
        _guard.run(self._add, size)

    def _add(self, size: int) -> None:
        self.taken += size


totals = _Totals()
_guard = ForkSafeLock()


def note(size: int) -> None:
    """
    Count bytes for the run that takes them next on this thread.
    """
    ident = get_ident()
    waiting[ident] = waiting.get(ident, 0) + size


def take() -> int:
    """
    Return the bytes that were noted on this thread since the last call.
    """
    size = waiting.pop(get_ident(), 0)
    if size:
        totals.add(size)
    return size


def size_of_text(text: str) -> int:
    """
    Return about how many bytes a text takes.
    """
    length = len(text)
    if length < LARGE_BYTES or text.isascii():
        return length
    return sys.getsizeof(text) if sys.implementation.name == "cpython" else 4 * length


def size_of_run(run: Any) -> int:
    """
    Return about how many bytes the values of a run take, also its texts, which are not counted before.
    """
    result = getattr(run, "_result", None)
    texts = size_of_text(result) if type(result) is str else 0
    for value in list(run._inputs.values()):  # a list: other threads may change the inputs
        if type(value) is str:
            texts += size_of_text(value)
    attributes = run._attributes
    # The texts may be among those that were counted.
    size: int = max(texts, run._size)
    return size if attributes is None else size + sum(list(attributes.sizes.values()))


def size_of_object(value: object, most_objects: int = 1_000) -> int:
    """
    Return about how many bytes an object takes, without running code of its class.

    It looks at `most_objects` objects inside it at most.
    """
    size, looked_at = 0, 0
    inside: List[Any] = [value]
    while inside and looked_at < most_objects:
        one = inside.pop()
        looked_at += 1
        kind = type(one)
        if kind is str:
            size += size_of_text(one)
        elif kind is bytes or kind is bytearray:
            size += len(one)
        elif kind is dict:
            size += ITEM_BYTES * len(one)
            inside += list(one)[:most_objects] + list(one.values())[:most_objects]
        elif kind is list or kind is tuple:
            size += ITEM_BYTES * len(one)
            inside += one[:most_objects]
        elif one is not None and kind not in _NUMBERS:
            try:
                inside.append(object.__getattribute__(one, "__dict__"))
            except AttributeError:
                size += ITEM_BYTES
    return size


_NUMBERS = frozenset((bool, float, int))
