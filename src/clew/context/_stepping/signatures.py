"""
Give a wrapper the name, documentation, annotations and signature of the function that it wraps.

Guarantees: the signature is read only when `inspect` needs it.

The kinds of functions are in `clew.context._stepping.kinds`.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from functools import update_wrapper
from types import FunctionType
from typing import Any

from clew.context._stepping.kinds import without_partials, wrapper_assignments

__all__ = ("dress",)


def dress(wrapper: Any, fn: Any, *, shows_code: bool = False) -> Any:
    """
    Give `wrapper` the attributes and the signature of `fn`. Return the wrapper.

    Args:
        shows_code: the wrapper has the `__code__` of `fn`, so `inspect.getfullargspec` finds the parameters there.
    """
    names = wrapper_assignments(fn)
    # 3.14+: `update_wrapper` copies `__annotate__` instead.
    if "__annotations__" not in names and getattr(fn, "__annotate__", None) is None:
        wrapper.__annotations__ = {}  # nothing to copy, and those of the wrapper's own code say nothing about `fn`
    update_wrapper(wrapper, fn, names)
    # `inspect.signature` follows __wrapped__. `getfullargspec` does not, and reads __signature__.
    if not shows_code and "__signature__" not in vars(wrapper) and _has_code(fn):
        vars(wrapper)["__signature__"] = DeferredSignature(fn)
    return wrapper


def _has_code(fn: Any) -> bool:
    """
    Return whether `fn` runs a function that is written in Python. Classes and other callables may have no signature.
    """
    fn = without_partials(fn)
    if isinstance(fn, type):
        return False
    return isinstance(fn, FunctionType) or isinstance(type(fn).__call__, FunctionType)


class DeferredSignature(inspect.Signature):
    """
    The signature of a function. It is read at its first use, because reading one is too slow at import time.

    `inspect.signature` returns this object also for ``eval_str=True``. So annotations that are strings are evaluated,
    if they can be; only `inspect.getfullargspec` gets the strings. The object equals both signatures: the written one,
    with strings, and the evaluated one.
    """

    __slots__ = ("_evaluated", "_fn", "_written")

    def __init__(self, fn: Any) -> None:
        # The base's `__init__` is not called: it sets the parameters, which are read later.
        self._fn = fn
        self._written: Any = None
        self._evaluated: Any = None

    def _as_written(self) -> inspect.Signature:
        if self._written is None:
            self._written = _written_signature(self._fn)
        return self._written  # type: ignore[no-any-return]  # it is one

    def _as_evaluated(self) -> inspect.Signature:
        if self._evaluated is None:
            evaluated = self._as_written()
            if _has_strings(evaluated):
                # The strings stay where a name exists only for type checkers, or an operator only in a later Python.
                with suppress(Exception):
                    evaluated = _evaluated_signature(self._fn)
            self._evaluated = evaluated
        return self._evaluated  # type: ignore[no-any-return]  # it is one

    # These two replace slots of the base, which the base's methods read.

    @property
    def _parameters(self) -> Any:
        # Frame 1 is the base's property `parameters`, frame 2 its caller.
        is_spec = sys._getframe(2).f_code is _GETFULLARGSPEC
        return (self._as_written() if is_spec else self._as_evaluated()).parameters

    @property
    def _return_annotation(self) -> Any:
        is_spec = sys._getframe(2).f_code is _GETFULLARGSPEC
        return (self._as_written() if is_spec else self._as_evaluated()).return_annotation

    def replace(self, **changes: Any) -> Any:
        """
        Return an ordinary signature with these changes.
        """
        return self._as_evaluated().replace(**changes)

    __replace__: Any = replace

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DeferredSignature):
            return self._as_evaluated() == other._as_evaluated()
        return self._as_written() == other or self._as_evaluated() == other

    def __hash__(self) -> int:
        return hash(self._as_written())

    def __repr__(self) -> str:
        return repr(self._as_evaluated())

    def __reduce__(self) -> Any:
        return DeferredSignature, (self._fn,)


_GETFULLARGSPEC = inspect.getfullargspec.__code__


def _written_signature(fn: Any) -> inspect.Signature:
    # 3.14+: annotations are evaluated when they are read, and that may fail; drop the else with 3.13.
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(fn, annotation_format=Format.FORWARDREF)
    return inspect.signature(fn)


def _evaluated_signature(fn: Any) -> inspect.Signature:
    # 3.10+: eval_str=; earlier versions of `inspect.signature` do not evaluate. Drop the else with 3.9.
    return inspect.signature(fn, eval_str=True) if sys.version_info >= (3, 10) else inspect.signature(fn)


def _has_strings(signature: inspect.Signature) -> bool:
    annotations = [parameter.annotation for parameter in signature.parameters.values()]
    return any(isinstance(annotation, str) for annotation in (*annotations, signature.return_annotation))
