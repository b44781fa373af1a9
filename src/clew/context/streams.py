"""
`wrap_stream`: an iterable object of any kind whose steps run in the context in which it was wrapped.

The functions for generators are in `clew.context.generators`.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Iterable
from contextvars import copy_context
from types import AsyncGeneratorType, GeneratorType
from typing import Any, TypeVar

from clew.context._stepping.checking import is_driver
from clew.context._stepping.entering import capture_carried, prepare_to_keep
from clew.context._stepping.kinds import kind_of
from clew.context._stepping.stream_objects import StreamContext, StreamObject, stand_in
from clew.context.generators import wrap_async_generator, wrap_generator
from clew.errors import ArgumentTypeError

__all__ = ("wrap_stream",)

T = TypeVar("T")


def wrap_stream(stream: T) -> T:
    """
    Return an object like `stream` whose every step runs with the ContextVars' values at this call.

    Use it for the stream of an SDK, a file, the lines of a response: any object for ``for`` or ``async for``. For a
    generator this is `wrap_generator`, for an async generator `wrap_async_generator`. For other objects, the result has
    the attributes of `stream`, works in ``with`` or ``async with`` if `stream` does, and `isinstance` treats it as an
    instance of the same class. Dropping it closes `stream` as dropping `stream` itself does. Methods that make no
    step, and attributes that are streams themselves, run in their caller's context; wrap such an attribute, too.
    `unwrap` returns `stream`. A stream that is wrapped already is returned unchanged.

    Context:
        *When*: at this call. *What the callee sees*: the values at this call, and the values that the stream's own
        code sets, at every step, entry, exit and close, in any thread or task; also when the stream is dropped, unless
        the garbage collector finds it. If the context is in use (one thread closes a stream that another one reads,
        for example), the step runs in a copy. *What comes back*: the items, and no ContextVar change. The result is as
        thread-safe as `stream`.

    Args:
        stream: an iterable, an iterator, an async iterable or an async iterator.

    Raises:
        ArgumentTypeError: `stream` is none of these.
        AlreadyEnteredError: `stream` is a generator that was started or has ended.

    Example:
        >>> import contextvars, clew
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> class Greetings:
        ...     def __iter__(self):
        ...         return self
        ...     def __next__(self):
        ...         return "hello " + user.get()
        >>> token = user.set("ada")
        >>> greetings = clew.wrap_stream(Greetings())
        >>> user.reset(token)
        >>> next(greetings)
        'hello ada'
    """
    given: Any = stream
    if is_driver(given) or issubclass(type(given), StreamObject):
        return stream
    if isinstance(given, GeneratorType):
        return wrap_generator(given)  # type: ignore[return-value]  # a generator for a generator
    if isinstance(given, AsyncGeneratorType):
        return wrap_async_generator(given)  # type: ignore[return-value]  # and here, too
    if not isinstance(given, (Iterable, AsyncIterable)):
        raise ArgumentTypeError(
            f"expected something to iterate over, got {type(given).__name__} {given!r}; {_remedy(given)}"
        )
    return stand_in(given, StreamContext(prepare_to_keep(copy_context()), capture_carried()))  # type: ignore[no-any-return]


def _remedy(given: object) -> str:
    if inspect.isawaitable(given):
        return "await it, and pass the result"
    if hasattr(type(given), "__enter__") or hasattr(type(given), "__aenter__"):
        return "enter it, and pass the value of its with block: with f() as stream"
    if callable(given) and kind_of(given) in ("generator", "async generator"):
        return "call it: wrap_stream(f()), or decorate it: @context_generator"
    return "pass an iterator, an async iterator, or an object that has one"
