"""
Drive a generator whose body runs in a context of its own.

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
    # What is of another make, Cython's or somebody's class, has no frame to tell whether it has ended.
    return (yield from generator)


def drive(beginning: Beginning, box: List[Any]) -> GeneratorOf[Any, Any, Any]:
    """
    Drive the generator that is in the box by the first step.

    It comes in a box because it is made after this one: in a garbage cycle the interpreter finalises
    the older one first, and it is this one that knows the context.
    """
    run = beginning.begin()
    body = box.pop()
    del beginning
    send = step = body.send
    # What is global may be gone when the interpreter exits.
    as_thrown, exit_of, as_ended = without_this_frame, Exit, without_steps
    box.append(None)
    try:
        while True:
            try:
                # An item, a value that was sent, or an exception is in no variable while somebody else
                # runs: it would be kept alive for as long as this is suspended.
                box.append(run(step, box.pop()))
                step = None
                sent = yield box.pop()
                while sent is None:
                    sent = yield run(send, None)
                step = send
                box.append(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  each may be caught by the body, which goes on
                if body.gi_frame is None:
                    raise as_ended(error)  # noqa: B904  it is the same one
                if step is not None:
                    # It comes from what the body delegates to, before that could resume. This ends here.
                    run(body.close)
                    raise
                # It was thrown in, by the consumer or by whoever closes this. The body gets it when this
                # block is over: while it is handled here, it would be the body's `sys.exc_info()`, too.
                step = exit_of(body).throw if isinstance(error, GeneratorExit) else body.throw
                box.append(as_thrown(error))
    except StopIteration as end:
        return end.value


# A generator-based coroutine can be awaited for a flag of its code, and so can what drives one.
_drive_coroutine: Any = types.coroutine(FunctionType(drive.__code__, globals(), "drive"))


driver_codes.update({drive.__code__, _drive_coroutine.__code__})


def driver_for(code: CodeType) -> Callable[[Beginning, List[Any]], GeneratorOf[Any, Any, Any]]:
    """
    Return what drives the generators of a generator function that has this code.
    """
    return _drive_coroutine if code.co_flags & inspect.CO_ITERABLE_COROUTINE else drive
