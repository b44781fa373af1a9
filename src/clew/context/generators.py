"""
`context_generator`, `wrap_generator` and `wrap_async_generator`: generators whose bodies run in a context of their own.

How such a body is stepped is in `clew.context._stepping`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Generator
from contextvars import Context, ContextVar
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
from clew.context._stepping.bodies import check_body, named
from clew.context._stepping.drivers import delegate, driver_for
from clew.context._stepping.function_likes import GeneratorFunction
from clew.context._stepping.inheriting import Beginning, inheriting
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


# What many generator functions are said to return; it has to be a generator all the same.
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
    Return a generator that drives `generator`, whose body runs in a context of its own.

    What comes back is a real generator, of `types.GeneratorType`, with the name of the given one. It
    passes on all that it is sent, that is thrown into it, and its closing, also when it is dropped:
    ``finally`` blocks then run in the body's own context, and a `ContextVar.reset` there works. (If
    the two are parts of one garbage cycle, the interpreter may close the given one first, in whichever
    context is current. With `context_generator`, it does not.)

    Context:
        *When*: with ``inherit="creation"``, at this call; with ``inherit="live"``, anew at each step;
        with `isolate`, at this call for the variables named and at each step for all others. *What
        the callee sees*: those values and what it sets itself, from its first step to its last, from
        whichever thread or task it is stepped. *What comes back*: what it yields, returns or raises,
        and no ContextVar change, except with `isolate` those to all other variables, and in a
        `Context` given as `context` all of them. Two threads must not step it at once, as with any
        generator.

    Args:
        generator: a generator that was not started yet. It must not be used directly any more.
        context: a `contextvars.Context`, to be shared and not copied, or a `Snapshot`, for a copy of
            what it holds, instead of the values of this call.
        inherit: ``"creation"`` for the values at this call, or ``"live"`` for those of whoever takes
            the next item, except where the body has set its own, until it has reset it.
        isolate: the only variables whose changes in the body are its own; every other change passes
            in both directions, as with a plain generator.

    Raises:
        ArgumentTypeError: `generator` is no generator, or an option is the wrong kind of thing.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
        AlreadyEnteredError: `generator` was started, has ended, or was wrapped before.
        ContextInUseError: at a step, if something else, elsewhere, is running in `context`; it is
            raised in the body, too, which then ends in a copy of that context.

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
    check_body(generator, Generator, "wrap_generator")
    body: Any = generator if isinstance(generator, GeneratorType) else delegate(generator)
    return named(driver_for(body.gi_code)(capture(), [body]), generator)


@overload
def wrap_async_generator(
    generator: AsyncGeneratorOf[Y, S],
    *,
    context: Union[Context, Snapshot, None] = ...,
    inherit: Literal["creation", "live"] = ...,
    isolate: Optional[Iterable[ContextVar[Any]]] = ...,
) -> AsyncGeneratorOf[Y, S]: ...


# What many async generator functions are said to return; it has to be an async generator all the same.
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
    Return an async generator that drives `generator`, whose body runs in a context of its own.

    What comes back is a real async generator, of `types.AsyncGeneratorType`, with the name of the given
    one. It passes on all that it is sent, that is thrown into it, and its closing. No task is made:
    the body runs in the task of whoever asks for the next item, so that timeouts and cancel scopes
    work, in the body and around it. The event loop finalises it when it is dropped, as it does any
    other; ``finally`` blocks then run in the body's own context, and a `ContextVar.reset` there works.

    Context:
        *When*: with ``inherit="creation"``, at this call; with ``inherit="live"``, anew at each step;
        with `isolate`, at this call for the variables named and at each step for all others. *What
        the callee sees*: those values and what it sets itself, from its first step to its last, from
        whichever task it is stepped. *What comes back*: what it yields or raises, and no ContextVar
        change, except with `isolate` those to all other variables, and in a `Context` given as
        `context` all of them. Two tasks must not step it at once, as with any async generator.

    Args:
        generator: an async generator that was not started yet. It must not be used directly any more.
        context: a `contextvars.Context`, to be shared and not copied, or a `Snapshot`, for a copy of
            what it holds, instead of the values of this call.
        inherit: ``"creation"`` for the values at this call, or ``"live"`` for those of whoever asks for
            the next item, except where the body has set its own, until it has reset it.
        isolate: the only variables whose changes in the body are its own; every other change passes
            in both directions, as with a plain async generator.

    Raises:
        ArgumentTypeError: `generator` is no async generator, or an option is the wrong kind of thing.
        ArgumentValueError: an unknown `inherit`, or two options that exclude each other.
        AlreadyEnteredError: `generator` was started, has ended, or was wrapped before.
        ContextInUseError: at a step, if something else, elsewhere, is running in `context`; it is
            raised in the body, too, which then ends in a copy of that context.

    Source:
        PEP 568 for ``inherit="live"``.

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
    check_body(generator, AsyncGenerator, "wrap_async_generator")
    body: Any = generator if isinstance(generator, AsyncGeneratorType) else delegate_async(generator)
    return named(drive_async(capture(), body), generator)


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
    Its call returns a real generator, or a real async generator; see `wrap_generator` and
    `wrap_async_generator`. `inspect` treats the function as it treats the undecorated one.

    Context:
        *When*: at each call of the function, not at the first step; with ``inherit="live"``, anew at
        each step; with `isolate`, at the call for the variables named and at each step for all others.
        *What the callee sees*: those values and what it sets itself, from its first step to its last.
        *What comes back*: what it yields, returns or raises, and no ContextVar change, except with
        `isolate` those to all other variables. The function is thread-safe and re-entrant.

    Args:
        fn: the generator function.
        inherit: ``"creation"`` for the values at the call, or ``"live"`` for those of whoever takes
            the next item, except where the body has set its own, until it has reset it.
        isolate: the only variables whose changes in the body are its own; every other change passes
            in both directions, as with a plain generator.

    Raises:
        ArgumentTypeError: `fn` is no generator function, or an option is the wrong kind of thing. At
            the call, as a `TypeError`: it is `contextlib.contextmanager` or `asynccontextmanager` that
            calls, and there is no `isolate`: what the body sets would not reach the ``with`` block.
        ArgumentValueError: an unknown `inherit`, two options that exclude each other, or `fn` is
            decorated already.

    Source:
        PEP 568 for ``inherit="live"``.

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
    capture = inheriting(None, inherit, isolate)
    if fn is None:
        return lambda fn: _decorated(fn, capture, refuses_managers=isolate is None)
    return _decorated(fn, capture, refuses_managers=isolate is None)


def _decorated(fn: Any, capture: Callable[[], Beginning], *, refuses_managers: bool) -> Any:
    if isinstance(fn, (classmethod, staticmethod)):
        return type(fn)(_decorated(fn.__func__, capture, refuses_managers=refuses_managers))
    if type(fn) is GeneratorFunction:
        raise ArgumentValueError(
            f"expected a generator function that is not decorated yet, found {fn!r}; "
            f"decorate it once, and give the options there"
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
        return "for what its call has returned there are wrap_generator and wrap_async_generator"
    if kind == "function":
        return "for what a call returns there are wrap_generator, wrap_async_generator and wrap_stream"
    if kind == "coroutine":
        return "for a coroutine there is wrap_coroutine"
    return "decorate a function that has a yield"
