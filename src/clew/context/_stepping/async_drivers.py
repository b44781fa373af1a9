"""
Drive an async generator whose body runs in a context of its own, in its consumer's task.
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
    # What is of another make, Cython's or somebody's class, has no frame to tell whether it has ended.
    box: List[Any] = [generator.__anext__()]
    while True:
        # In a box, so that neither an item nor what is sent or thrown in is kept alive.
        try:
            box.append(await box.pop())
        except StopAsyncIteration:
            return
        try:
            box.append((yield box.pop()))
        except GeneratorExit:
            await generator.aclose()
            raise
        except BaseException as error:  # noqa: BLE001  it is for that generator
            box.append(generator.athrow(error))
        else:
            box.append(generator.__anext__() if box[0] is None else generator.asend(box[0]))
            del box[0]


if TYPE_CHECKING:
    _Map = map[Any]  # which no class can be derived from before 3.9
else:
    _Map = map


class Step(_Map):
    """
    Be awaitable for one operation on the body, in the body's context: a map of `run` to `next` and the operation.

    An operation is an iterator, too, and its end carries the item. So for a step that is sent None, as
    most are, no Python code runs: that would take as long again, and make a frame object that lives as
    long as the driver. There is no `close`: who closes the driver has its GeneratorExit raised in there.
    """

    __slots__ = ()

    # Itself; as a method of the type that is no Python function.
    __await__: Any = map.__iter__

    def send(self, value: Any) -> Any:
        """
        Resume the body with what its event loop has for it.
        """
        try:
            return self._run("send", value)
        finally:
            del self, value

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception, a cancellation in most cases, where the body awaits.
        """
        try:
            return self._run("throw", *exception)
        finally:
            del self, exception  # whose traceback holds this frame

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
    Be awaitable for one operation on the body, in whichever context is current: a map of `next` to the operation.
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
    Drive the async generator `body`: what is awaited in it is awaited here, and what it yields yielded.

    An operation on the body is never asked for while another is under way: the interpreter refuses
    that of this one first, with the error that a bare one gives.
    """
    run = beginning.begin()
    del beginning
    # In variables, which are quicker to reach than what is global, and are still there when the interpreter exits.
    step, nexts, repeated, asend, thrown, as_thrown = Step, _NEXTS, repeat, body.asend, Thrown, without_this_frame
    as_ended = without_steps
    operation, plain = first_operation(body), None
    try:
        while True:
            try:
                # An item, a value that was sent, or an exception is in no variable while this is suspended
                # at a yield: it would be kept alive. (The tuple is there to let go of the operation.)
                sent = yield (await step(run, nexts, repeated(operation)), operation := None)[0]
                while sent is None:
                    plain = asend(None)
                    sent = yield await step(run, nexts, repeated(plain))
                operation = asend(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  each may be caught by the body, which goes on
                # It was thrown in, by the consumer, a cancellation or whoever closes this, unless it has ended
                # the body. The body gets it when this block is over: while it is handled here, it would be
                # the body's `sys.exc_info()`, too.
                if body.ag_frame is None or getattr(operation, "error", None) is not None:
                    raise as_ended(error)  # noqa: B904  it is the same one
                if body.ag_running:
                    operation = thrown.into(plain if operation is None else operation, as_thrown(error))
                elif operation is None:
                    operation = thrown(body.athrow(as_thrown(error)))
                else:
                    # It comes from what the body awaits, before that could resume. This ends here.
                    await step(run, nexts, repeated(body.aclose()))
                    raise
    except StopAsyncIteration:
        pass
    finally:
        del operation  # which may hold an exception, whose traceback holds this frame


driver_codes.add(drive_async.__code__)


step_codes.update(fn.__code__ for fn in (Step.send, Step.throw, Step._run, StepHere._run))


def first_operation(body: Any) -> Any:
    """
    Return the operation that starts the body, made such that no event loop hears of the body.

    The loop knows the driver, and finalises that. The body would be finalised by itself, in whichever
    context is current, if there were no hooks for it: it gets one that leaves it alone.
    """
    firstiter, finalizer = sys.get_asyncgen_hooks()
    try:
        sys.set_asyncgen_hooks(None, _leave_alone)
        return body.asend(None)
    finally:
        sys.set_asyncgen_hooks(firstiter, finalizer)


def _leave_alone(body: object) -> None:
    pass
