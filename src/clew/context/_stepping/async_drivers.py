"""
Drive an async generator whose body runs in a context of its own, in its consumer's task.

Guarantees: as in `clew.context._stepping.drivers`. The event loop knows the driver only, and finalises it.

Assumes: the interpreter refuses a second operation on the driver while one is pending.
"""

from __future__ import annotations

import sys
from itertools import repeat
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncGenerator as AsyncGeneratorOf,
    List,
    TypeVar,
)

from clew.context._stepping.bodies import driver_codes
from clew.context._stepping.inheriting import Beginning
from clew.context._stepping.throwing import Thrown, step_codes, without_frames, without_steps, without_this_frame

__all__ = (
    "Step",
    "StepHere",
    "delegate_async",
    "drive_async",
    "first_operation",
)

Y = TypeVar("Y")
S = TypeVar("S")


async def delegate_async(generator: AsyncGeneratorOf[Y, S]) -> AsyncGeneratorOf[Y, S]:
    # A generator of Cython's, or of a class, has no frame that shows whether it has ended.
    box: List[Any] = [generator.__anext__()]
    while True:
        # In a box, so that no variable keeps an item or a sent value alive.
        try:
            box.append(await box.pop())
        except StopAsyncIteration:
            return
        try:
            box.append((yield box.pop()))
        except GeneratorExit:
            await generator.aclose()
            raise
        except BaseException as error:  # noqa: BLE001  passed on to the generator
            box.append(generator.athrow(error))
        else:
            box.append(generator.__anext__() if box[0] is None else generator.asend(box[0]))
            del box[0]


if TYPE_CHECKING:
    _Map = map[Any]  # before 3.9, no class can be derived from it
else:
    _Map = map


class Step(_Map):
    """
    An awaitable for one operation on the body, in the body's context: a `map` of `run` over `next` and the operation.

    An operation is an iterator, and the exception at its end carries the item. So a step that sends None, as most
    steps do, runs no Python code. Python code would double its time and create a frame that lives as long as the
    driver. There is no `close`: closing the driver raises GeneratorExit inside of the awaitable.
    """

    __slots__ = ()

    # Returns the map itself, by a method that is not a Python function.
    __await__: Any = map.__iter__

    def send(self, value: Any) -> Any:
        """
        Resume the body with a value from the event loop.
        """
        try:
            return self._run("send", value)
        finally:
            del self, value

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception, in most cases a cancellation, where the body awaits.
        """
        try:
            return self._run("throw", *exception)
        finally:
            del self, exception  # its traceback holds this frame

    def _run(self, name: str, *arguments: Any) -> Any:
        parts: Any = self.__reduce__()[1]
        run, _, operations = parts
        operation = next(operations)
        try:
            return run(without_frames, getattr(operation, name), *arguments)
        finally:
            del self, arguments, parts, operations, operation


class StepHere(Step):
    """
    An awaitable for one operation on the body, in the current context: a `map` of `next` over the operation.
    """

    __slots__ = ()

    def _run(self, name: str, *arguments: Any) -> Any:
        parts: Any = self.__reduce__()[1]
        _, operations = parts
        operation = next(operations)
        try:
            return without_frames(getattr(operation, name), *arguments)
        finally:
            del self, arguments, parts, operations, operation


_NEXTS = repeat(next)


async def drive_async(beginning: Beginning, body: Any) -> AsyncGeneratorOf[Any, Any]:
    """
    Drive the async generator `body`: await what it awaits, and yield what it yields.

    No operation on the body starts while another one is pending: the interpreter refuses the second operation on the
    driver first, with the error of a bare async generator.
    """
    run = beginning.begin()
    del beginning
    # Local names are faster than globals, and exist at interpreter exit.
    step, nexts, repeated, asend, thrown, as_thrown = Step, _NEXTS, repeat, body.asend, Thrown, without_this_frame
    as_ended = without_steps
    operation, plain = first_operation(body), None
    try:
        while True:
            try:
                # While the driver is suspended at a yield, no variable holds an item, a sent value or an exception.
                # (The tuple lets go of the operation before the yield.)
                sent = yield (await step(run, nexts, repeated(operation)), operation := None)[0]
                while sent is None:
                    plain = asend(None)
                    sent = yield await step(run, nexts, repeated(plain))
                operation = asend(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  each may be caught by the body, which goes on
                # Either it has ended the body, or the consumer, a cancellation or a close has thrown it in. Then the
                # body gets it after this block: while it is handled here, it would be its `sys.exc_info()`, too.
                if body.ag_frame is None or getattr(operation, "error", None) is not None:
                    raise as_ended(error)  # noqa: B904  the same exception
                if body.ag_running:
                    operation = thrown.into(plain if operation is None else operation, as_thrown(error))
                elif operation is None:
                    operation = thrown(body.athrow(as_thrown(error)))
                else:
                    # The awaitable of the body has raised it before it could resume. End here.
                    await step(run, nexts, repeated(body.aclose()))
                    raise
    except StopAsyncIteration:
        pass
    finally:
        del operation  # it may hold an exception whose traceback holds this frame


driver_codes.add(drive_async.__code__)


step_codes.update(fn.__code__ for fn in (Step.send, Step.throw, Step._run, StepHere._run))


def first_operation(body: Any) -> Any:
    """
    Return the operation that starts the body, hiding the body from the event loop.

    The loop knows the driver and finalises it. Without hooks the interpreter would finalise the body itself, in the
    current context, so the body gets a finaliser hook that does nothing.
    """
    firstiter, finalizer = sys.get_asyncgen_hooks()
    try:
        sys.set_asyncgen_hooks(None, _leave_alone)
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(firstiter, finalizer)


def _leave_alone(body: object) -> None:
    pass
