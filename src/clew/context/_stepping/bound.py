"""
Bound functions: each call runs in a copy of one captured context.

Guarantees: a bound function is of the same kind as the wrapped one (function, coroutine function, generator function,
method, partial, ...).

Assumes: the captured context never changes, because no code is run in it.

The public functions are `clew.bind` and `Snapshot.bind`.
"""

from __future__ import annotations

from contextvars import Context
from functools import partial
from types import AsyncGeneratorType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import TYPE_CHECKING, Any, Callable, Tuple, TypeVar

from clew.context._stepping.captured import pickling_error
from clew.context._stepping.coroutines import ContextCoroutine, as_coroutine
from clew.context._stepping.entering import prepare_for_here, runner
from clew.context._stepping.function_likes import BoundGeneratorFunction
from clew.context._stepping.kinds import kind_of
from clew.context._stepping.signatures import dress
from clew.errors import ArgumentTypeError

if TYPE_CHECKING:
    from clew.context._stepping.carrying import Carried

__all__ = ("bind_to", "check_callable", "is_bound", "is_bound_directly", "rebuilt")

T = TypeVar("T")


def is_bound(fn: Any) -> bool:
    """
    Return whether `fn` is a bound function, or a method or partial of one.
    """
    inside = _inside(fn)
    return is_bound_directly(fn) if inside is None else is_bound(inside)


def is_bound_directly(fn: Any) -> bool:
    """
    Return whether `fn` is a bound function itself.
    """
    # By type: a method has its function's `__code__`, and some objects have every attribute.
    if type(fn) is FunctionType:
        return fn.__code__ in _BOUND_CODES
    return type(fn) is BoundGeneratorFunction


def bind_to(fn: Any, captured: Context, carried: Carried) -> Any:
    """
    Return a function like `fn` whose calls run in copies of `captured`. `fn` is not bound yet.
    """
    if _inside(fn) is not None:
        return rebuilt(fn, lambda inside: bind_to(inside, captured, carried))
    kind = kind_of(fn)
    if kind == "function":
        return _bound(fn, captured, carried)
    if kind != "coroutine":
        return BoundGeneratorFunction(fn, kind, captured, carried)
    return _bound_coroutine_function(fn, captured, carried)


def _inside(fn: Any) -> Any:
    """
    Return the function inside of a method, partial, classmethod or staticmethod; None for other objects.
    """
    if isinstance(fn, (MethodType, classmethod, staticmethod)):
        return fn.__func__
    return fn.func if type(fn) is partial else None


def rebuilt(fn: Any, change: Callable[[Any], Any]) -> Any:
    """
    Return a method, partial, classmethod or staticmethod like `fn` for `change(function)`.
    """
    if isinstance(fn, MethodType):
        return MethodType(change(fn.__func__), fn.__self__)
    if isinstance(fn, partial):
        return partial(change(fn.func), *fn.args, **fn.keywords)
    return type(fn)(change(fn.__func__))


def _bound(fn: Callable[..., T], captured: Context, carried: Carried) -> Callable[..., T]:
    first: Any = (*carried, fn)  # the first arguments of `context.run`
    carried, copy = _Carried(carried), captured.copy

    def bound(*args: Any, **kwargs: Any) -> T:
        context = prepare_for_here(copy())
        if not kwargs:  # the most frequent call; passing an empty ** takes time
            return context.run(*first, *args)  # type: ignore[no-any-return]  # it is what `fn` returns
        return runner(context, carried, kwargs)(fn, *args, **kwargs)  # type: ignore[no-any-return]  # the same

    return dress(bound, fn)  # type: ignore[no-any-return]  # it is `bound`


def _bound_coroutine_function(fn: Callable[..., Any], captured: Context, carried: Carried) -> Any:
    carried, copy = _Carried(carried), captured.copy

    # The first step calls `fn`, so a coroutine that is never started has no effect.
    async def bound(*args: Any, **kwargs: Any) -> Any:
        context = prepare_for_here(copy())
        awaitable = runner(context, carried, kwargs)(fn, *args, **kwargs)
        return await ContextCoroutine(as_coroutine(awaitable), context, carried)

    return dress(bound, fn)


class _Carried(Tuple[Any, ...]):
    """
    The accessor values of a bound function. Pickling them raises an error that explains why the function cannot be.

    cloudpickle pickles a closure in the order of its names. ``carried`` comes before the names that refer to a Context.
    """

    __slots__ = ()

    def __reduce__(self) -> Any:
        raise pickling_error("a bound function")


# The code of bound functions, by which they are recognised. `functools.wraps` would copy an attribute to a wrapper
# around a bound function, but it does not copy the code.
_BOUND_CODES = frozenset(make(print, Context(), ()).__code__ for make in (_bound, _bound_coroutine_function))


def check_callable(fn: object) -> None:
    """
    Raise an error with the remedy if `fn` cannot be bound.
    """
    if isinstance(fn, (CoroutineType, GeneratorType, AsyncGeneratorType)):
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
