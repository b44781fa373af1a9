"""
Which of the four kinds of function a callable is, and what a wrapper of it takes over.
"""

from __future__ import annotations

import inspect
from functools import WRAPPER_ASSIGNMENTS, partial
from typing import Tuple

__all__ = ("kind_of", "wrapper_assignments")


def kind_of(fn: object) -> str:
    """
    Return ``"function"``, ``"coroutine"``, ``"generator"`` or ``"async generator"``.

    Looks through partials and bound methods, and at the ``__call__`` of a callable object.
    """
    while isinstance(fn, partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn):  # also a callable object that is marked as one
        return "coroutine"
    if not inspect.isroutine(fn) and not isinstance(fn, type):
        fn = getattr(type(fn), "__call__", fn)  # noqa: B004  not whether it is callable, but what the call runs
    if inspect.iscoroutinefunction(fn):
        return "coroutine"
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "function"


def wrapper_assignments(fn: object) -> Tuple[str, ...]:
    """
    Return which attributes of `fn` a wrapper takes over, for `functools.update_wrapper`.
    """
    # A class's __doc__ and annotations describe its instances, not the call. And there are objects
    # that have every attribute one asks for, but none that a function could have.
    names = ("__module__", "__name__", "__qualname__") if isinstance(fn, type) else WRAPPER_ASSIGNMENTS
    return tuple(name for name in names if isinstance(getattr(fn, name, None), _KINDS_OF_ATTRIBUTES.get(name, object)))


_KINDS_OF_ATTRIBUTES = {"__annotations__": dict, "__name__": str, "__qualname__": str, "__type_params__": tuple}
