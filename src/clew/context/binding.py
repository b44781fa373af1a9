"""
`bind` and `unwrap`: a function that always runs with the ContextVars' values of one moment, and the way back.

The class of captured values is `clew.Snapshot`, in `clew.context.snapshot`.
"""

from __future__ import annotations

from contextvars import copy_context
from typing import Any, Callable, TypeVar, overload

from clew._shared.hints import ParamSpec
from clew.context._stepping.bound import bind_to, check_callable, is_bound, is_bound_directly, rebuilt
from clew.context._stepping.entering import capture_carried, prepare_to_keep
from clew.context._stepping.seams import unwrappers

__all__ = ("bind", "unwrap")

T = TypeVar("T")
P = ParamSpec("P")


@overload
def bind(fn: classmethod[Any, P, T]) -> classmethod[Any, P, T]: ...


@overload
def bind(fn: staticmethod[P, T]) -> staticmethod[P, T]: ...


@overload
def bind(fn: Callable[P, T]) -> Callable[P, T]: ...


def bind(fn: Any) -> Any:
    """
    Return a function like `fn` that always runs with the current values of all ContextVars.

    The result has the kind of `fn` (coroutine function, generator function, async generator function, method, partial,
    classmethod or staticmethod); for any other callable it is a function. It has the name, signature and documentation
    of `fn`. A bound function is returned unchanged: the first capture stays. `unwrap` returns `fn` again.

    A bound function cannot be pickled, because a Context cannot. Pass the function itself, ``unwrap(bound)``, to a pool
    of processes. Traceable functions and the jobs of `wrap_executor` can be pickled.

    Context:
        *When*: at the call of `bind`. *What the callee sees*: the captured values, in a fresh copy
        for each call; a coroutine or a generator has one copy from its first step to its last, and
        runs in the task that awaits it. *What comes back*: the result or the exception, and no ContextVar change.
        Thread-safe and re-entrant.

    Args:
        fn: a function, coroutine function, method, partial, class or other callable.

    Raises:
        ArgumentTypeError: `fn` is not callable, or is a coroutine or generator *object*.

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
    check_callable(fn)
    return fn if is_bound(fn) else bind_to(fn, prepare_to_keep(copy_context()), capture_carried())


def unwrap(wrapped: Any) -> Any:
    """
    Return the object that `bind`, `Snapshot.bind`, `wrap_executor`, `wrap_stream` or `wrap_generator` has wrapped.

    Any other object is returned unchanged, and so is a wrapped generator that has ended.

    Example:
        >>> import clew
        >>> clew.unwrap(clew.bind(print)) is print
        True
    """
    if is_bound_directly(wrapped):
        return wrapped.__wrapped__
    if is_bound(wrapped):
        return rebuilt(wrapped, unwrap)
    unwrap_it = next(filter(None, map(unwrappers.get, type(wrapped).__mro__)), None)
    return wrapped if unwrap_it is None else unwrap_it(wrapped)
