"""
Which of the four kinds of function a callable is, and what a wrapper of it takes over.
"""

from __future__ import annotations

import inspect
import sys
from functools import WRAPPER_ASSIGNMENTS, partial
from types import CodeType, FunctionType, MethodType
from typing import Any, Optional, Set, Tuple

__all__ = ("Signature", "kind_of", "wrapper_assignments")


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


class Signature:
    """
    Hold what is asked of the parameters of a function at its decoration, when reading the signature takes too long.
    """

    __slots__ = ("_bound", "_code", "_keywords", "_takes_any")

    def __init__(self, fn: Any) -> None:
        self._bound = 0
        self._keywords: Set[str] = set()
        while isinstance(fn, partial):
            self._bound += len(fn.args)
            self._keywords |= fn.keywords.keys()
            fn = fn.func
        if not isinstance(fn, (FunctionType, MethodType, type)) and isinstance(type(fn).__call__, FunctionType):
            fn = MethodType(type(fn).__call__, fn)
        if isinstance(fn, MethodType):
            self._bound += 1
            fn = fn.__func__
        inner: Any = fn
        code = getattr(inner, "__code__", None)
        self._takes_any = False
        # Of a wrapper that takes anything, it is what it wraps that says what that is; it may keep some to itself.
        while isinstance(code, CodeType) and code.co_flags & inspect.CO_VARKEYWORDS and hasattr(inner, "__wrapped__"):
            self._takes_any = True
            inner = inner.__wrapped__
            code = getattr(inner, "__code__", None)
        self._code = code if isinstance(code, CodeType) else None  # there are objects that have every attribute

    def place_of(self, name: str) -> Optional[int]:
        """
        Return how many positional arguments leave a parameter out; None if it is to be left alone.
        """
        code = self._code
        if code is None or name in self._keywords:
            return None
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        if name not in names[code.co_posonlyargcount :]:
            return None
        position = names.index(name)
        return position - self._bound if position < code.co_argcount else sys.maxsize

    def takes(self, name: str) -> bool:
        """
        Return whether a call may have that keyword argument, as far as can be told.
        """
        code = self._code
        if code is None or self._takes_any or name in self._keywords:
            return True
        return bool(code.co_flags & inspect.CO_VARKEYWORDS) or self.place_of(name) is not None
