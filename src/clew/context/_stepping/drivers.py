"""
The driver: a generator that steps the wrapped generator in a context of its own.

Guarantees: the driver is a real generator. It passes each `send`, `throw` and `close` on to the wrapped generator, in
that context. A suspended driver keeps no item, sent value or exception alive.

Assumes: the interpreter refuses to resume a running driver, so the wrapped generator makes one step at a time.

The driver of async generators is in `clew.context._stepping.async_drivers`.
"""

from __future__ import annotations

import inspect
import types
from types import CodeType, FunctionType
from typing import Any, Callable, Generator as GeneratorOf, List, TypeVar

from clew.context._stepping.checking import driver_codes
from clew.context._stepping.inheriting import GeneratorContext
from clew.context._stepping.throwing import Exit, without_steps, without_this_frame

__all__ = ("delegate", "drive", "driver_for")

Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")


def delegate(generator: GeneratorOf[Y, S, R]) -> GeneratorOf[Y, S, R]:
    """
    Return a native generator for a generator of Cython or of a class: a driver needs the frame of a native one.
    """
    return (yield from generator)


def drive(context: GeneratorContext, slot: List[Any]) -> GeneratorOf[Any, Any, Any]:
    """
    Step a generator in `context`. The caller puts the generator into `slot` before the first step.

    The slot lets the caller create the driver first. In a garbage cycle the interpreter finalises the older of two
    generators first. It must be the driver, because only the driver closes the generator in its context.
    """
    run = context.begin()
    generator = slot.pop()
    del context
    send = step = generator.send
    # Copies of the globals, which the interpreter may clear at its exit while a driver is still open.
    as_thrown, exit_of, as_ended = without_this_frame, Exit, without_steps
    slot.append(None)
    try:
        while True:
            try:
                # The slot passes items, sent values and exceptions on. A variable would keep them alive while the
                # driver is suspended.
                slot.append(run(step, slot.pop()))
                step = None
                sent = yield slot.pop()
                while sent is None:
                    sent = yield run(send, None)
                step = send
                slot.append(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  the generator may catch each and continue
                if generator.gi_frame is None:
                    raise as_ended(error)  # noqa: B904  the same exception
                if step is not None:
                    # The object of the generator's `yield from` raised before the generator resumed. End the generator.
                    run(generator.close)
                    raise
                # The consumer threw the error into the driver, or closes the driver. Pass the error on after this
                # block: within it, `sys.exc_info()` of the generator would show the error as being handled.
                step = exit_of(generator).throw if isinstance(error, GeneratorExit) else generator.throw
                slot.append(as_thrown(error))
    except StopIteration as end:
        return end.value


# A flag in the code makes a generator-based coroutine awaitable. Its driver needs the same flag.
_drive_coroutine: Any = types.coroutine(FunctionType(drive.__code__, globals(), "drive"))

driver_codes.update({drive.__code__, _drive_coroutine.__code__})


def driver_for(code: CodeType) -> Callable[[GeneratorContext, List[Any]], GeneratorOf[Any, Any, Any]]:
    """
    Return the driver for the generators of a generator function that has this code.
    """
    return _drive_coroutine if code.co_flags & inspect.CO_ITERABLE_COROUTINE else drive
