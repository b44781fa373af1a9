"""
Drive a generator whose body runs in a context of its own.

Guarantees: the consumer holds a real generator, the driver; everything that it sends, throws or closes reaches the body
in the body's context. A suspended driver keeps no item, sent value or exception alive.

Assumes: the interpreter refuses to enter a running driver again, so the body is entered once at a time.

The asynchronous kind is in `clew.context._stepping.async_drivers`.
"""

from __future__ import annotations

import inspect
import types
from types import CodeType, FunctionType
from typing import (
    Any,
    Callable,
    Generator as GeneratorOf,
    List,
    TypeVar,
)

from clew.context._stepping.bodies import driver_codes
from clew.context._stepping.inheriting import Beginning
from clew.context._stepping.throwing import Exit, without_steps, without_this_frame

__all__ = ("delegate", "drive", "driver_for")

Y = TypeVar("Y")
S = TypeVar("S")
R = TypeVar("R")


def delegate(generator: GeneratorOf[Y, S, R]) -> GeneratorOf[Y, S, R]:
    # A generator of Cython's, or of a class, has no frame that shows whether it has ended.
    return (yield from generator)


def drive(beginning: Beginning, box: List[Any]) -> GeneratorOf[Any, Any, Any]:
    """
    Drive the generator that the box holds at the first step.

    It comes in a box because it is created after the driver. In a garbage cycle the interpreter finalises the older
    generator first, and that must be the driver, which knows the context.
    """
    run = beginning.begin()
    body = box.pop()
    del beginning
    send = step = body.send
    # Local names: globals may be gone at interpreter exit.
    as_thrown, exit_of, as_ended = without_this_frame, Exit, without_steps
    box.append(None)
    try:
        while True:
            try:
                # While the driver is suspended, no variable holds an item, a sent value or an exception: it would
                # be kept alive for as long.
                box.append(run(step, box.pop()))
                step = None
                sent = yield box.pop()
                while sent is None:
                    sent = yield run(send, None)
                step = send
                box.append(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  the body may catch each and continue
                if body.gi_frame is None:
                    raise as_ended(error)  # noqa: B904  the same exception
                if step is not None:
                    # The generator that the body delegates to has raised it before it could resume. End here.
                    run(body.close)
                    raise
                # The consumer has thrown it in, or closes the driver. The body gets it after this block: while it is
                # handled here, it would be the body's `sys.exc_info()`, too.
                step = exit_of(body).throw if isinstance(error, GeneratorExit) else body.throw
                box.append(as_thrown(error))
    except StopIteration as end:
        return end.value


# A generator-based coroutine can be awaited because of a flag of its code. Its driver needs the same flag.
_drive_coroutine: Any = types.coroutine(FunctionType(drive.__code__, globals(), "drive"))


driver_codes.update({drive.__code__, _drive_coroutine.__code__})


def driver_for(code: CodeType) -> Callable[[Beginning, List[Any]], GeneratorOf[Any, Any, Any]]:
    """
    Return the driver for the generators of a generator function that has this code.
    """
    return _drive_coroutine if code.co_flags & inspect.CO_ITERABLE_COROUTINE else drive
