"""
`context_generator`, `wrap_generator` and `wrap_async_generator`: generators whose bodies run in a context of their own.

The drivers, which step the bodies, are in `clew.context._stepping`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextvars import Context, ContextVar
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import (
    Any,
    AsyncGenerator as AsyncGeneratorOf,
    AsyncIterator,
    Callable,
    Generator as GeneratorOf,
    Iterable,
    Iterator,
    Literal,
    Optional,
    TypeVar,
    Union,
    overload,
)

from clew.context._stepping.async_drivers import delegate_async, drive_async
from clew.context._stepping.checking import check_unstarted, named
from clew.context._stepping.drivers import delegate, driver_for
from clew.context._stepping.function_likes import GeneratorFunction
from clew.context._stepping.inheriting import GeneratorContext, inheriting
from clew.context._stepping.kinds import kind_of
from clew.context.snapshot import Snapshot
from clew.errors import ArgumentTypeError, ArgumentValueError

__all__ = ("context_generator", "wrap_async_generator", "wrap_generator")

Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


@overload
def wrap_generator(
    generator: GeneratorOf[Y, S, R],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> GeneratorOf[Y, S, R]: ...


# Many generator functions are annotated with Iterator. The object has to be a generator all the same.
@overload
def wrap_generator(
    generator: Iterator[Y],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> Iterator[Y]: ...


def wrap_generator(
    generator: Any,
    *,
    context: Union[Context, Snapshot, None] = None,
    inherit: Literal["creation", "live"] = "creation",
    isolate: Optional[Iterable[ContextVar[Any]]] = None,
) -> Any:
    """
    Return a generator that steps `generator` in a context of its own.

    The result is a real generator, of `types.GeneratorType`, with the name of `generator`. It passes on
    each `send`, `throw` and `close`. If it is dropped, it closes `generator`: the ``finally`` blocks run
    in the body's own context, and a `ContextVar.reset` there works. (If both are in one garbage cycle,
    the interpreter may close `generator` first, in the current context. It does not with
    `context_generator`.)

    Context:
        *When*: with ``inherit="creation"``, at this call; with ``inherit="live"``, at each step; with
        `isolate`, at this call for the named variables and at each step for all others. *What the callee
        sees*: these values, and the values that it sets itself, from its first step to its last, in any
        thread or task. *What comes back*: the items, the result or the exception, and no ContextVar
        change; with `isolate`, the changes of all other variables; with a `Context` as `context`, all
        changes are in that. As with any generator, two threads must not step it at once.

    Args:
        generator: a generator that was not started. Use only the returned generator from now on.
        context: a `contextvars.Context`, which is shared and not copied, or a `Snapshot`, which is copied.
            It replaces the values at this call.
        inherit: ``"creation"``: the body sees the values at this call. ``"live"``: the body sees the
            current values of its consumer at each step; a variable that the body has set keeps the
            body's value until the body resets it.
        isolate: the variables that the body has for itself. Changes of all other variables pass in both
            directions, as with a plain generator.

    Raises:
        ArgumentTypeError: `generator` is not a generator, or an option has the wrong type.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
        AlreadyEnteredError: `generator` was started, has ended, or was wrapped before.
        ContextInUseError: at a step, if other code elsewhere is running in `context`. It is also raised
            in the body, which then ends in a copy of that context.

    Source:
        PEP 568 for ``inherit="live"``.

    Example:
        >>> import contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> def greetings():
        ...     user.set("ada")
        ...     yield "hello " + user.get()
        >>> next(clew.wrap_generator(greetings()))
        'hello ada'
        >>> user.get()
        'nobody'
    """
    capture = inheriting(context, inherit, isolate)
    check_unstarted(generator, Generator, "wrap_generator")
    native: Any = generator if isinstance(generator, GeneratorType) else delegate(generator)
    return named(driver_for(native.gi_code)(capture(), [native]), generator)


@overload
def wrap_async_generator(
    generator: AsyncGeneratorOf[Y, S],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> AsyncGeneratorOf[Y, S]: ...


# Many async generator functions are annotated with AsyncIterator. The object has to be an async generator all the same.
@overload
def wrap_async_generator(
    generator: AsyncIterator[Y],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> AsyncIterator[Y]: ...


def wrap_async_generator(
    generator: Any,
    *,
    context: Union[Context, Snapshot, None] = None,
    inherit: Literal["creation", "live"] = "creation",
    isolate: Optional[Iterable[ContextVar[Any]]] = None,
) -> Any:
    """
    Return an async generator that steps `generator` in a context of its own; see `wrap_generator`.

    The result is a real async generator, of `types.AsyncGeneratorType`. No task is created: the body
    runs in the task that requests the next item, so timeouts and cancel scopes work in the body and
    around it. If the result is dropped, the event loop closes it, as any async generator.

    Context:
        *When*: with ``inherit="creation"``, at this call; with ``inherit="live"``, at each step; with
        `isolate`, at this call for the named variables and at each step for all others. *What the callee
        sees*: these values, and the values that it sets itself, in any task. *What comes back*: the items
        or the exception, and the ContextVar changes that `wrap_generator` names. As with any async
        generator, two tasks must not step it at once.

    Args:
        generator: an async generator that was not started. Use only the returned one from now on.
        context: as in `wrap_generator`.
        inherit: as in `wrap_generator`.
        isolate: as in `wrap_generator`.

    Raises:
        ArgumentTypeError: `generator` is not an async generator, or an option has the wrong type.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
        AlreadyEnteredError: `generator` was started, has ended, or was wrapped before.
        ContextInUseError: at a step, if other code elsewhere is running in `context`.

    Example:
        >>> import asyncio, contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def greetings():
        ...     user.set("ada")
        ...     yield "hello " + user.get()
        >>> async def main():
        ...     async for greeting in clew.wrap_async_generator(greetings()):
        ...         print(greeting, "and", user.get())
        >>> asyncio.run(main())
        hello ada and nobody
    """
    capture = inheriting(context, inherit, isolate)
    check_unstarted(generator, AsyncGenerator, "wrap_async_generator")
    native: Any = generator if isinstance(generator, AsyncGeneratorType) else delegate_async(generator)
    return named(drive_async(capture(), native), generator)


@overload
def context_generator(fn: F, /) -> F: ...


@overload
def context_generator(
    *, inherit: Literal["creation", "live"] = "creation", isolate: Optional[Iterable[ContextVar[Any]]] = None
) -> Callable[[F], F]: ...


def context_generator(
    fn: Any = None,
    /,
    *,
    inherit: Literal["creation", "live"] = "creation",
    isolate: Optional[Iterable[ContextVar[Any]]] = None,
) -> Any:
    """
    Return a generator function, or async generator function, whose generators run in contexts of their own.

    Decorate a function, method, staticmethod or classmethod that has a ``yield``, with or without options.
    The generators are those of `wrap_generator` and `wrap_async_generator`. `inspect` treats the decorated
    function as it treats the undecorated one.

    Context:
        *When*: at each call of the function, not at the first step; with ``inherit="live"``, at each step;
        with `isolate`, at the call for the named variables and at each step for all others. *What the
        callee sees*: these values, and the values that it sets itself, from its first step to its last.
        *What comes back*: the items, the result or the exception, and no ContextVar change; with
        `isolate`, the changes of all other variables. The function is thread-safe and re-entrant.

    Args:
        fn: the generator function.
        inherit: as in `wrap_generator`.
        isolate: as in `wrap_generator`.

    Raises:
        ArgumentTypeError: `fn` is not a generator function, or an option has the wrong type. Also at a
            call by `contextlib.contextmanager` or `asynccontextmanager` without `isolate`, because the
            values that the body sets would not reach the ``with`` block.
        ArgumentValueError: an unknown `inherit`, two options that exclude each other, or `fn` is
            decorated already.

    Example:
        >>> import contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> @clew.context_generator
        ... def greetings():
        ...     user.set("ada")
        ...     yield "hello " + user.get()
        ...     yield "bye " + user.get()
        >>> [(greeting, user.get()) for greeting in greetings()]
        [('hello ada', 'nobody'), ('bye ada', 'nobody')]
    """
    decorate = partial(_decorated, capture=inheriting(None, inherit, isolate), refuses_managers=isolate is None)
    return decorate if fn is None else decorate(fn)


def _decorated(fn: Any, capture: Callable[[], GeneratorContext], *, refuses_managers: bool) -> Any:
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(_decorated(fn.__func__, capture, refuses_managers=refuses_managers))
    if type(fn) is GeneratorFunction:
        raise ArgumentValueError(
            f"expected a generator function that is not decorated yet, found {fn!r}; "
            f"decorate it once, and pass the options there"
        )
    kind = kind_of(fn) if callable(fn) else ""
    if kind not in ("generator", "async generator"):
        raise ArgumentTypeError(
            f"expected a generator function or an async generator function, got {type(fn).__name__} {fn!r}; "
            f"{_remedy(fn, kind)}"
        )
    return GeneratorFunction(fn, kind, capture, refuses_managers=refuses_managers)


def _remedy(fn: object, kind: str) -> str:
    if inspect.isgenerator(fn) or inspect.isasyncgen(fn):
        return "pass a generator object to wrap_generator or wrap_async_generator"
    if kind == "function":
        return "pass the object that its call returns to wrap_generator, wrap_async_generator or wrap_stream"
    if kind == "coroutine":
        return "pass the coroutine that its call returns to wrap_coroutine"
    return "decorate a function that has a yield"
