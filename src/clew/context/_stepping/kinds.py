"""
The kind of a function, the attributes that its wrapper copies, and its parameters.
"""

from __future__ import annotations

import inspect
import sys
from functools import WRAPPER_ASSIGNMENTS, partial
from types import CodeType, FunctionType, MethodType
from typing import Any, Optional, Set, Tuple

__all__ = ("Signature", "is_plain_function", "kind_of", "without_partials", "wrapper_assignments")


def kind_of(fn: object) -> str:
    """
    Return the kind of a callable: ``"function"``, ``"coroutine"``, ``"generator"`` or ``"async generator"``.

    A partial or method has the kind of its function, and a callable object that of its ``__call__``.
    """
    while isinstance(fn, partial):
        fn = fn.func
    if inspect.iscoroutinefunction(fn):  # also a callable object that is marked as a coroutine function
        return "coroutine"
    if not inspect.isroutine(fn) and not isinstance(fn, type):
        fn = getattr(type(fn), "__call__", fn)  # noqa: B004  the method itself, not whether there is one
    if inspect.iscoroutinefunction(fn):
        return "coroutine"
    if inspect.isasyncgenfunction(fn):
        return "async generator"
    if inspect.isgeneratorfunction(fn):
        return "generator"
    return "function"


def is_plain_function(fn: object) -> bool:
    """
    Return whether a call of `fn` returns its value: it is callable, is not async and does not yield.
    """
    return callable(fn) and kind_of(fn) == "function"


def without_partials(fn: Any) -> Any:
    """
    Return the callable inside of partials and methods.
    """
    while isinstance(fn, (partial, MethodType)):
        fn = fn.func if isinstance(fn, partial) else fn.__func__
    return fn


def wrapper_assignments(fn: object) -> Tuple[str, ...]:
    """
    Return the names of the attributes that `functools.update_wrapper` copies from `fn` to its wrapper.
    """
    if type(fn) is FunctionType:
        return WRAPPER_ASSIGNMENTS  # the most frequent case
    # The __doc__ and annotations of a class describe its instances, not the call. The types are checked because
    # some objects (mocks, for example) have every attribute.
    names = ("__module__", "__name__", "__qualname__") if isinstance(fn, type) else WRAPPER_ASSIGNMENTS
    return tuple(name for name in names if isinstance(getattr(fn, name, None), _KINDS_OF_ATTRIBUTES.get(name, object)))


_KINDS_OF_ATTRIBUTES = {"__annotations__": dict, "__name__": str, "__qualname__": str, "__type_params__": tuple}


class Signature:
    """
    The parameters of a function. Decorators use this at import time, where `inspect.signature` is too slow.
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
        # A wrapper with **kwargs passes them on to the wrapped function, and may take some for itself.
        while isinstance(code, CodeType) and code.co_flags & inspect.CO_VARKEYWORDS and hasattr(inner, "__wrapped__"):
            self._takes_any = True
            inner = inner.__wrapped__
            code = getattr(inner, "__code__", None)
        self._code = code if isinstance(code, CodeType) else None  # some objects have every attribute

    def place_of(self, name: str) -> Optional[int]:
        """
        Return the position of a parameter in a call; `sys.maxsize` if keyword-only, None if there is no parameter.
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
        Return whether a call may have the keyword argument `name`; True if unknown.
        """
        code = self._code
        if code is None or self._takes_any or name in self._keywords:
            return True
        return bool(code.co_flags & inspect.CO_VARKEYWORDS) or self.place_of(name) is not None
