"""
Recognise that the garbage collector, and not the program, is finalising an object.

The code that closes generators and coroutines decides what to do then.
"""

from __future__ import annotations

import gc
import os
import sys
from contextvars import copy_context
from threading import get_ident
from typing import Any, Callable, ClassVar, List
from weakref import ref

__all__ = ("CALLBACK", "Collectable", "is_collecting")

# 3.14+: before it finalises anything, the collector clears only the weak references that have a callback. It does not
# call the callback of a reference that is garbage itself, so any function will do.
CALLBACK: Any = id if sys.version_info >= (3, 14) else None


# The thread that is collecting, or 0. A list, because the interpreter clears globals at its exit, and still collects.
_collector: List[int] = [0]


def _note_collection(
    phase: str, _: object, collector: List[int] = _collector, thread: Callable[[], int] = get_ident
) -> None:
    collector[0] = thread() if phase == "start" else 0


def is_collecting() -> bool:
    """
    Return whether the garbage collector is running on this thread.
    """
    return _collector[0] == get_ident()


def _forget_collection() -> None:
    # In a child that is forked while another thread collects. CPython never collects there, and a new thread may get
    # the other one's number.
    if not is_collecting():
        _collector[0] = 0


if hasattr(gc, "callbacks"):  # PyPy has none; it finalises nothing by counting references
    gc.callbacks.append(_note_collection)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_collection)


class Collectable:
    """
    The base of objects that close a generator's body. A subclass sets `_reference` to ``ref(self, CALLBACK)``.

    Guarantees:
        If the garbage collector closes a body, no variable is set or reset in the current context. A collection may
        begin at any allocation. Before CPython 3.12 that can be in the middle of a `ContextVar.set` in the current
        context; changing the context there frees the mapping that `ContextVar.set` works on, and the interpreter
        crashes. So the body is closed in a copy of the current context, where it and the run tree may set variables.
        A token of the body's is not valid in the copy. No program can rely on that: which context is current during
        a collection is chance.

        If the program closes a body by `close`, or by dropping the last reference, the body is closed in the current
        context itself, as an undecorated generator is. That happens between two instructions, never in the middle of
        a `ContextVar.set`. So a body that a consumer leaves by ``break`` can reset the variables that it has set, such
        as the current span of another tracer.

    Assumes:
        `gc.callbacks` are called at the start and the end of each collection, on the thread that runs the finalisers.
        Where there are none: the collector clears the weak references to all garbage that it has found before it
        finalises any of it, so `_reference` is dead then. That is not enough in CPython, whose collector also drops
        older objects that only the garbage refers to. (An object that a finaliser resurrects counts as collected.)
    """

    __slots__ = ("__weakref__", "_reference")

    _reference: ref[Any]

    def is_collected(self) -> bool:
        """
        Return whether the garbage collector is finalising this object, or an object that refers to it.
        """
        return self._reference() is None or self._collector[0] == self._thread()

    # On the class instead of globals, which the interpreter may clear at its exit.
    _collector: ClassVar[List[int]] = _collector
    _copy: ClassVar[Any] = copy_context  # a builtin function, which does not become a method
    _thread: ClassVar[Any] = get_ident  # the same
