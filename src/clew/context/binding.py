"""
`bind(fn)`: a function that always runs in the context in which it was bound.
"""

from __future__ import annotations

import inspect
from contextvars import Context, copy_context
from functools import partial, update_wrapper
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Callable, TypeVar, overload

from clew.context._stepping.entering import capture_carried, fit_for_here, fit_to_keep, runner
from clew.context._stepping.kinds import kind_of, wrapper_assignments
from clew.context._stepping.seams import unwrappers
from clew.context.coroutines import ContextCoroutine, as_coroutine
from clew.context.generator_functions import BoundGeneratorFunction
from clew.errors import ArgumentTypeError

if TYPE_CHECKING:
    from typing_extensions import ParamSpec

    from clew.context.accessors import Carried

    P = ParamSpec("P")

__all__ = ("bind", "unwrap")

T = TypeVar("T")


@overload
def bind(fn: classmethod[Any, P, T]) -> classmethod[Any, P, T]: ...


@overload
def bind(fn: staticmethod[P, T]) -> staticmethod[P, T]: ...


@overload
def bind(fn: Callable[P, T]) -> Callable[P, T]: ...


def bind(fn: Any) -> Any:
    """
    Return a function like `fn` that always runs with the ContextVar values of this moment.

    What comes back is of the kind of `fn`: a coroutine function for a coroutine function, a generator
    function or async generator function for one of these, a method for a method, a partial for a
    partial, a classmethod or staticmethod for one of these, and a function for anything else that can
    be called. It has the name, signature and documentation of
    `fn`. Binding what is bound returns it as it is: the first capture stays. `unwrap` undoes it.

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
    return fn if is_bound(fn) else bind_to(fn, fit_to_keep(copy_context()), capture_carried())


def unwrap(wrapped: Any) -> Any:
    """
    Return what `bind`, `Snapshot.bind`, `wrap_executor` or `wrap_stream` was given; anything else as it is.

    A generator that clew drives gives the one that was wrapped, as long as that has not ended.

    Example:
        >>> import clew
        >>> clew.unwrap(clew.bind(print)) is print
        True
    """
    if _is_bound_itself(wrapped):
        return wrapped.__wrapped__
    if is_bound(wrapped):
        return _rebuilt(wrapped, unwrap)
    unwrap_it = next(filter(None, map(unwrappers.get, type(wrapped).__mro__)), None)
    return wrapped if unwrap_it is None else unwrap_it(wrapped)


def is_bound(fn: Any) -> bool:
    """
    Return whether `fn` was made by `bind`, or is a method or partial of what was.
    """
    inside = _inside(fn)
    return _is_bound_itself(fn) if inside is None else is_bound(inside)


def _is_bound_itself(fn: Any) -> bool:
    # By its type, as a method has its function's code, and some objects every attribute one asks for.
    if type(fn) is FunctionType:
        return fn.__code__ in _BOUND_CODES
    return type(fn) is BoundGeneratorFunction


def bind_to(fn: Any, captured: Context, carried: Carried) -> Any:
    """
    Return `fn`, which is not bound yet, bound to a context.
    """
    if _inside(fn) is not None:
        return _rebuilt(fn, lambda inside: bind_to(inside, captured, carried))
    kind = kind_of(fn)
    if kind == "function":
        return _bound(fn, captured, carried)
    if kind != "coroutine":
        return BoundGeneratorFunction(fn, kind, captured, carried)
    return _bound_coroutine_function(fn, captured, carried)


def _inside(fn: Any) -> Any:
    """
    Return the function in a method, partial, classmethod or staticmethod, None in anything else.
    """
    if isinstance(fn, (MethodType, classmethod, staticmethod)):
        return fn.__func__
    return fn.func if type(fn) is partial else None


def _rebuilt(fn: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(fn, MethodType):
        return MethodType(change(fn.__func__), fn.__self__)
    if isinstance(fn, partial):
        return partial(change(fn.func), *fn.args, **fn.keywords)
    return type(fn)(change(fn.__func__))


def _bound(fn: Callable[..., T], captured: Context, carried: Carried) -> Callable[..., T]:
    first: Any = (*carried, fn)  # what `context.run` is to be given first

    def bound(*args: Any, **kwargs: Any) -> T:
        context = fit_for_here(captured.copy())
        if not kwargs:  # by far the most frequent call, and an empty ** is not free
            return context.run(*first, *args)  # type: ignore[no-any-return]  # it is what `fn` returns
        return runner(context, carried, kwargs)(fn, *args, **kwargs)  # type: ignore[no-any-return]  # the same

    return update_wrapper(bound, fn, wrapper_assignments(fn))


def _bound_coroutine_function(fn: Callable[..., Any], captured: Context, carried: Carried) -> Any:
    # The call of `fn` is a part of the first step: a coroutine that is never started has made nothing.
    async def bound(*args: Any, **kwargs: Any) -> Any:
        context = fit_for_here(captured.copy())
        awaitable = runner(context, carried, kwargs)(fn, *args, **kwargs)
        return await ContextCoroutine(as_coroutine(awaitable), context, carried)

    return update_wrapper(bound, fn, wrapper_assignments(fn))


# All bound functions share a code object. Unlike an attribute on the function, it is not copied by
# functools.wraps to a wrapper that somebody puts around a bound function.
_BOUND_CODES = frozenset(make(print, Context(), ()).__code__ for make in (_bound, _bound_coroutine_function))


def check_callable(fn: object) -> None:
    """
    Raise the error that says what to pass, if `fn` is nothing that can be bound.
    """
    if inspect.iscoroutine(fn) or inspect.isgenerator(fn) or inspect.isasyncgen(fn):
        kind = type(fn).__name__.replace("_", " ")
        raise ArgumentTypeError(
            f"expected a function, got {kind} object {fn!r}; pass the function itself: bind(f), not bind(f())"
        )
    inside = _inside(fn)
    if inside is not None:
        check_callable(inside)
        return
    if not callable(fn):
        raise ArgumentTypeError(
            f"expected a callable, got {type(fn).__name__} {fn!r}; pass the function itself: bind(f), not bind(f())"
        )
