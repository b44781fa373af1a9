"""
What makes a wrapper look like the function that it wraps: name, documentation, annotations and signature.

Which of the four kinds of function a callable is, is in `kinds`.
"""

from __future__ import annotations

import inspect
import sys
from contextlib import suppress
from functools import partial, update_wrapper
from types import FunctionType, MethodType
from typing import Any

from clew.context._stepping.kinds import wrapper_assignments

__all__ = ("DeferredSignature", "dress")


def dress(wrapper: Any, fn: Any, *, shows_code: bool = False) -> Any:
    """
    Give the wrapper the attributes of `fn`, and its signature also for `inspect.getfullargspec`; return the wrapper.

    Args:
        shows_code: whether the wrapper has the `__code__` of `fn`, in which getfullargspec finds the parameters.
    """
    names = wrapper_assignments(fn)
    if "__annotations__" not in names and getattr(fn, "__annotate__", None) is None:  # 3.14+: the latter
        wrapper.__annotations__ = {}  # the wrapper's own describe nothing
    update_wrapper(wrapper, fn, names)
    # `inspect.signature` follows __wrapped__, but getfullargspec does not: it asks for __signature__.
    if not shows_code and "__signature__" not in vars(wrapper) and _has_code(fn):
        vars(wrapper)["__signature__"] = DeferredSignature(fn)
    return wrapper


def _has_code(fn: Any) -> bool:
    """
    Return whether `fn` runs a function written in Python. Others may have no signature, and `inspect` says so.
    """
    while isinstance(fn, (partial, MethodType)):
        fn = fn.func if isinstance(fn, partial) else fn.__func__
    if isinstance(fn, type):
        return False
    return inspect.isfunction(fn) or isinstance(type(fn).__call__, FunctionType)


class DeferredSignature(inspect.Signature):
    """
    The signature of a function, read when it is first looked at: reading one takes too long for an import.

    `inspect.signature` returns it as it is, also where it is called with ``eval_str=True``. Annotations that are text
    are therefore evaluated here, wherever they can be; only `inspect.getfullargspec` finds the text. It equals the
    signature that has them as text.
    """

    __slots__ = ("_evaluated", "_fn", "_written")

    def __init__(self, fn: Any) -> None:
        # Not the base's, which fills in what is read later.
        self._fn = fn
        self._written: Any = None
        self._evaluated: Any = None

    def _as_written(self) -> inspect.Signature:
        if self._written is None:
            self._written = _signature_of(self._fn)
        return self._written  # type: ignore[no-any-return]  # it is one

    def _whole(self) -> inspect.Signature:
        if self._evaluated is None:
            evaluated = self._as_written()
            if _has_text(evaluated):
                # A name that only type checkers know, or an operator of a later Python: the text stays.
                with suppress(Exception):
                    evaluated = _evaluated(self._fn)
            self._evaluated = evaluated
        return self._evaluated  # type: ignore[no-any-return]  # it is one

    # Both are slots of the base, whose methods read them.

    @property
    def _parameters(self) -> Any:
        # The frame between is the base's property `parameters`.
        is_spec = sys._getframe(2).f_code is _GETFULLARGSPEC
        return (self._as_written() if is_spec else self._whole()).parameters

    @property
    def _return_annotation(self) -> Any:
        is_spec = sys._getframe(2).f_code is _GETFULLARGSPEC
        return (self._as_written() if is_spec else self._whole()).return_annotation

    def replace(self, **changes: Any) -> Any:
        """
        Return an ordinary signature with these changes.
        """
        return self._whole().replace(**changes)

    __replace__: Any = replace

    def __eq__(self, other: object) -> bool:
        if isinstance(other, DeferredSignature):
            return self._whole() == other._whole()
        return self._as_written() == other or self._whole() == other

    def __hash__(self) -> int:
        return hash(self._as_written())

    def __repr__(self) -> str:
        return repr(self._whole())

    def __reduce__(self) -> Any:
        return DeferredSignature, (self._fn,)


_GETFULLARGSPEC = inspect.getfullargspec.__code__


def _signature_of(fn: Any) -> inspect.Signature:
    # 3.14+: annotations are evaluated when somebody looks, and need not be evaluable; drop the else with 3.13.
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(fn, annotation_format=Format.FORWARDREF)
    return inspect.signature(fn)


def _evaluated(fn: Any) -> inspect.Signature:
    # 3.10+: eval_str=, and nobody asks for it before; drop the else with 3.9.
    return inspect.signature(fn, eval_str=True) if sys.version_info >= (3, 10) else inspect.signature(fn)


def _has_text(signature: inspect.Signature) -> bool:
    annotations = [parameter.annotation for parameter in signature.parameters.values()]
    return any(isinstance(annotation, str) for annotation in (*annotations, signature.return_annotation))
