"""
Coroutines of every kind, for the tests of `wrap_coroutine`. The scripts that step them are in `_traces`.
"""

from __future__ import annotations

import gc
import platform
import threading
import types
from collections.abc import Coroutine
from contextvars import Context, ContextVar
from typing import Any, AsyncIterator, Callable, Dict

from tests.edges._threads import DEADLINE, in_empty_context

Make = Callable[[], Any]

var: ContextVar[Any] = ContextVar("var", default="default")


@types.coroutine
def suspend(value: object = None) -> Any:
    """Suspend once with `value`, and return the value that is sent."""
    return (yield value)


def context_with(value: object) -> Context:
    context = Context()
    context.run(var.set, value)
    return context


def finish(coroutine: Any) -> Any:
    """Step a coroutine to its end, and return its result."""
    try:
        while True:
            coroutine.send(None)
    except StopIteration as ended:
        return ended.value


async def awaiting(awaitable: Any) -> Any:
    return await awaitable


def in_thread(fn: Callable[..., Any], *args: Any) -> Any:
    """Return `fn(*args)`, called in a thread with an empty context."""
    found = []
    thread = threading.Thread(target=lambda: found.append(fn(*args)))
    in_empty_context(thread.start)
    thread.join(DEADLINE)
    return found[0]


def let_finalizers_run() -> None:
    """Collect garbage on PyPy. CPython finalises an object with its last reference."""
    if platform.python_implementation() == "PyPy":
        for _ in range(3):
            gc.collect()


async def two_values() -> Any:
    first = await suspend(1)
    return first, await suspend(first)


async def returns_a_tuple() -> Any:
    await suspend()
    return 1, 2


async def returns_an_exception() -> Any:
    await suspend()
    return ValueError("a value")


async def returns_a_stop_iteration() -> Any:
    await suspend()
    return StopIteration(3)


async def returns_at_once() -> None:
    pass


async def raises_stop_iteration() -> None:
    await suspend()
    raise StopIteration(7)


async def raises_what_a_refusal_looks_like() -> None:
    await suspend()
    raise RuntimeError("cannot enter context: <Context> is already entered")


async def enters_a_context_twice() -> None:
    await suspend()
    context = Context()
    context.run(context.run, int)


async def raises_keyboard_interrupt() -> None:
    await suspend()
    raise KeyboardInterrupt("by itself")


async def ignores_generator_exit() -> Any:
    for number in range(3):
        try:
            await suspend(number)
        except GeneratorExit:
            await suspend("ignored")
    return "survived"


async def returns_on_generator_exit() -> Any:
    try:
        await suspend()
    except GeneratorExit:
        return 5


async def raises_on_generator_exit() -> None:
    try:
        await suspend()
    except GeneratorExit:
        raise LookupError("instead") from None


async def goes_on_after_exceptions() -> Any:
    caught = []
    for number in range(4):
        try:
            await suspend(number)
        except (Exception, KeyboardInterrupt) as error:
            caught.append(repr(error))
    return caught


async def awaits_in_finally() -> None:
    try:
        await suspend(1)
    finally:
        await suspend("finally")


async def delegates() -> Any:
    try:
        return await two_values()
    except KeyError as error:
        return await suspend(error.args)


class PlainIterator:
    """An awaitable whose iterator has no send, throw or close."""

    def __await__(self) -> Any:
        return iter([1, 2])


async def awaits_a_plain_iterator() -> Any:
    return await PlainIterator()


async def numbers() -> AsyncIterator[Any]:
    yield await suspend(1)
    yield await suspend(2)


class Manager:
    async def __aenter__(self) -> Any:
        return await suspend("in")

    async def __aexit__(self, *_: object) -> Any:
        return await suspend("out")


async def has_async_for_and_with() -> Any:
    found = []
    async with Manager() as entered:
        async for number in numbers():
            found.append((entered, number))
    return found


@types.coroutine
def generator_based() -> Any:
    first = yield 1
    return first, (yield first)


@types.coroutine
def delegating_generator() -> Any:
    return (yield from two_values())  # type: ignore[misc]  # mypy does not see that this one may


class Foreign(Coroutine):  # type: ignore[type-arg]  # as in the class under test
    """A coroutine without a frame or attributes for its state, as compiled coroutines may be."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Any:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *exception: Any) -> Any:
        return self._coroutine.throw(*exception)

    def close(self) -> None:
        self._coroutine.close()


def foreign() -> Any:
    return Foreign(goes_on_after_exceptions())


BODIES: Dict[str, Make] = {
    each.__name__: each
    for each in (
        two_values,
        returns_a_tuple,
        returns_an_exception,
        returns_a_stop_iteration,
        returns_at_once,
        raises_stop_iteration,
        raises_what_a_refusal_looks_like,
        enters_a_context_twice,
        raises_keyboard_interrupt,
        ignores_generator_exit,
        returns_on_generator_exit,
        raises_on_generator_exit,
        goes_on_after_exceptions,
        awaits_in_finally,
        delegates,
        awaits_a_plain_iterator,
        has_async_for_and_with,
        generator_based,
        delegating_generator,
        foreign,
    )
}
