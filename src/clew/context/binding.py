"""
`bind(fn)`: a function that always runs in the context in which it was bound.
"""

from __future__ import annotations

import inspect
from contextvars import copy_context
from functools import update_wrapper
from typing import TYPE_CHECKING, Callable, TypeVar

from clew.context._entering import bind_keywords, loaded, take_loop_from_here
from clew.context._kinds import kind_of, wrapper_assignments
from clew.errors import ArgumentTypeError

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    P = ParamSpec("P")

__all__ = ("bind",)

T = TypeVar("T")


def bind(fn: Callable[P, T]) -> Callable[P, T]:
    """
    Return a function that calls `fn` with the ContextVar values of this moment.

    The result is a plain function with the name, signature and documentation of `fn`. Binding a
    bound function returns it as it is: the first capture stays.

    Context:
        *When*: at the call of `bind`. *What the callee sees*: the captured values, in a fresh copy
        for each call. *What comes back*: the result or the exception, and no ContextVar change.
        Thread-safe and re-entrant.

    Args:
        fn: a plain function, method, class or other callable that is done when it returns.

    Raises:
        ArgumentTypeError: `fn` is not callable, is a coroutine or generator *object*, or is a
            coroutine or generator function, whose body would only run after the call.

    Example:
        >>> import contextvars, threading, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> def greet():
        ...     print("hello", user.get())
        >>> token = user.set("ada")
        >>> thread = threading.Thread(target=clew.bind(greet))
        >>> thread.start(); thread.join()
        hello ada
    """
    _check(fn)
    if getattr(fn, "__code__", None) is _BOUND_CODE:
        return fn
    return _bound(fn)


def _bound(fn: Callable[P, T]) -> Callable[P, T]:
    captured = copy_context()

    def bound(*args: P.args, **kwargs: P.kwargs) -> T:
        context = captured.copy()
        if "sniffio" in loaded:
            take_loop_from_here(context)
        if not kwargs:  # by far the most frequent call, and an empty ** is not free
            plain: Callable[..., T] = fn
            return context.run(plain, *args)
        if bind_keywords is not None:
            with_keywords: Callable[..., T] = bind_keywords(fn, kwargs)
            return context.run(with_keywords, *args)
        return context.run(fn, *args, **kwargs)

    return update_wrapper(bound, fn, wrapper_assignments(fn))


# All bound functions share one code object. Unlike an attribute on the function, it is not copied
# by functools.wraps to a wrapper that somebody puts around a bound function.
_BOUND_CODE = _bound(print).__code__


def _check(fn: object) -> None:
    if inspect.iscoroutine(fn) or inspect.isgenerator(fn) or inspect.isasyncgen(fn):
        kind = type(fn).__name__.replace("_", " ")
        raise ArgumentTypeError(
            f"expected a function, got {kind} object {fn!r}; pass the function itself: bind(f), not bind(f())"
        )
    if not callable(fn):
        raise ArgumentTypeError(
            f"expected a callable, got {type(fn).__name__} {fn!r}; pass the function itself: bind(f), not bind(f())"
        )
    kind = kind_of(fn)
    if kind != "function":
        raise ArgumentTypeError(
            f"expected a function that is done when it returns, got {kind} function {fn!r}, whose body runs "
            f"after the call; bind the plain functions that it calls, or hand it over with clew.capture().context()"
        )
