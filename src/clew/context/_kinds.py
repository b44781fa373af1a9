"""
Which of the four kinds of function a callable is.
"""

from __future__ import annotations

import inspect
from functools import partial

__all__ = ("kind_of",)


def kind_of(fn: object) -> str:
    """
    Return ``"function"``, ``"coroutine"``, ``"generator"`` or ``"async generator"``.

    Looks through partials and bound methods, and at the ``__call__`` of a callable object.
    """
    while isinstance(fn, partial):
        fn = fn.func
    if not inspect.isroutine(fn) and not isinstance(fn, type):
        fn = getattr(type(fn), "__call__", fn)  # noqa: B004  not whether it is callable, but what the call runs
    if inspect.iscoroutinefunction(fn):
        return "coroutine"
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "function"
