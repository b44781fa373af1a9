"""
Which of the four kinds of function a callable is, and which attributes and parameters its wrapper needs.
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

    It looks through partials and bound methods, and at the ``__call__`` of a callable object.
    """
    while isinstance(fn, partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn):  # also a callable object that is marked as a coroutine function
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
    # A class's __doc__ and annotations describe its instances, not the call. Some objects have every
    # attribute that one asks for, so the types are checked.
    names = ("__module__", "__name__", "__qualname__") if isinstance(fn, type) else WRAPPER_ASSIGNMENTS
    return tuple(name for name in names if isinstance(getattr(fn, name, None), _KINDS_OF_ATTRIBUTES.get(name, object)))


_KINDS_OF_ATTRIBUTES = {"__annotations__": dict, "__name__": str, "__qualname__": str, "__type_params__": tuple}


class Signature:
    """
    Answers about the parameters of a function, at its decoration. `inspect.signature` is too slow for import time.
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
        # A wrapper with **kwargs has the parameters of the wrapped function. It may take some for itself.
        while isinstance(code, CodeType) and code.co_flags & inspect.CO_VARKEYWORDS and hasattr(inner, "__wrapped__"):
            self._takes_any = True
            inner = inner.__wrapped__
            code = getattr(inner, "__code__", None)
        self._code = code if isinstance(code, CodeType) else None  # some objects have every attribute

    def place_of(self, name: str) -> Optional[int]:
        """
        Return the position of a parameter in a call, `sys.maxsize` for keyword-only; None if there is no such one.
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
        Return whether a call may have that keyword argument; True if unknown.
        """
        code = self._code
        if code is None or self._takes_any or name in self._keywords:
            return True
        return bool(code.co_flags & inspect.CO_VARKEYWORDS) or self.place_of(name) is not None
