"""
The driver of async generators: it steps the wrapped generator in a context of its own, in the consumer's task.

Guarantees: the driver is a real async generator. It passes each operation on to the wrapped generator, in that context.
A driver suspended at a ``yield`` keeps no item, sent value or exception alive. The event loop knows and finalises the
driver, not the wrapped generator.

Assumes: the interpreter refuses a second operation on the driver while one is pending.
"""

from __future__ import annotations

import sys
from itertools import repeat
from typing import TYPE_CHECKING, Any, AsyncGenerator as AsyncGeneratorOf, List, TypeVar

from clew.context._stepping.checking import driver_codes
from clew.context._stepping.inheriting import GeneratorContext
from clew.context._stepping.throwing import Thrown, step_codes, without_frames, without_steps, without_this_frame

__all__ = ("Step", "delegate_async", "drive_async", "first_operation")

Y = TypeVar("Y")
S = TypeVar("S")


async def delegate_async(generator: AsyncGeneratorOf[Y, S]) -> AsyncGeneratorOf[Y, S]:
    """
    Return a native async generator for one of Cython or of a class: a driver needs the frame of a native one.
    """
    slot: List[Any] = [generator.__anext__()]  # as in `clew.context._stepping.drivers.drive`
    while True:
        try:
            slot.append(await slot.pop())
        except StopAsyncIteration:
            return
        try:
            slot.append((yield slot.pop()))
        except GeneratorExit:
            await generator.aclose()
            raise
        except BaseException as error:  # noqa: BLE001  passed on to the generator
            slot.append(generator.athrow(error))
        else:
            slot.append(generator.__anext__() if slot[0] is None else generator.asend(slot[0]))
            del slot[0]


if TYPE_CHECKING:
    _Map = map[Any]  # before 3.9, `map[Any]` does not exist at run time
else:
    _Map = map


class Step(_Map):
    """
    The awaitable of one operation on an async generator: each step of the operation runs in a context.

    An operation (the awaitable that `asend` returns) is an iterator; the exception at its end carries the item. So the
    awaitable is a `map` over the steps, and a step that sends None, as most steps do, runs no Python code. Python code
    would double the time of a step and create a frame that lives as long as the driver. There is no `close`: closing
    the driver raises GeneratorExit inside the awaitable.

    ``Step(run, repeat(next), repeat(operation))`` makes its steps in the context of `run`, and
    ``Step(next, repeat(operation))`` in the current context.
    """

    __slots__ = ()

    # Returns the map itself, without a Python call.
    __await__: Any = map.__iter__

    def send(self, value: Any) -> Any:
        """
        Resume the generator with a value from the event loop.
        """
        try:
            return self._run("send", value)
        finally:
            del self, value

    def throw(self, *exception: Any) -> Any:
        """
        Raise an exception, in most cases a cancellation, at the generator's ``await``.
        """
        try:
            return self._run("throw", *exception)
        finally:
            del self, exception  # its traceback holds this frame

    def _run(self, name: str, *arguments: Any) -> Any:
        parts: Any = self.__reduce__()[1]  # the arguments of the map
        run, operation = parts[0], next(parts[-1])
        try:
            if run is next:
                return without_frames(getattr(operation, name), *arguments)
            return run(without_frames, getattr(operation, name), *arguments)
        finally:
            del self, arguments, parts, operation


_NEXTS = repeat(next)


async def drive_async(context: GeneratorContext, generator: Any) -> AsyncGeneratorOf[Any, Any]:
    """
    Step an async generator in `context`.

    No second operation on the generator starts while one is pending: the interpreter refuses the second operation on
    the driver first, with the error of a bare async generator.
    """
    run = context.begin()
    del context
    # Copies of the globals: faster, and the interpreter may clear globals at its exit while a driver is still open.
    step, nexts, repeated, asend, thrown, as_thrown = Step, _NEXTS, repeat, generator.asend, Thrown, without_this_frame
    as_ended = without_steps
    operation, plain = first_operation(generator), None
    try:
        while True:
            try:
                # While the driver is suspended at a yield, no variable holds an item, a sent value or an exception:
                # it would stay alive as long. (The tuple drops the operation before the yield.)
                sent = yield (await step(run, nexts, repeated(operation)), operation := None)[0]
                while sent is None:
                    plain = asend(None)
                    sent = yield await step(run, nexts, repeated(plain))
                operation = asend(sent)
                del sent
            except BaseException as error:  # noqa: PERF203  the generator may catch each and continue
                # Either the generator ended by the error, or the consumer, a cancellation or a close threw it into
                # the driver. Then pass the error on after this block: within it, `sys.exc_info()` of the generator
                # would show the error as being handled.
                if generator.ag_frame is None or getattr(operation, "error", None) is not None:
                    raise as_ended(error)  # noqa: B904  the same exception
                if generator.ag_running:
                    operation = thrown.into(plain if operation is None else operation, as_thrown(error))
                elif operation is None:
                    operation = thrown(generator.athrow(as_thrown(error)))
                else:
                    # The object that the generator awaits raised before the generator resumed. End the generator.
                    await step(run, nexts, repeated(generator.aclose()))
                    raise
    except StopAsyncIteration:
        pass
    finally:
        del operation  # it may hold an exception whose traceback holds this frame


driver_codes.add(drive_async.__code__)
step_codes.update(fn.__code__ for fn in (Step.send, Step.throw, Step._run))


def first_operation(generator: Any) -> Any:
    """
    Return the operation that starts `generator`, and hide the generator from the event loop.

    The event loop finalises the driver. Without hooks the interpreter would finalise the generator itself, in the
    current context, so the generator gets a finaliser hook that does nothing.
    """
    firstiter, finalizer = sys.get_asyncgen_hooks()
    try:
        sys.set_asyncgen_hooks(None, _leave_alone)
        return generator.asend(None)
    finally:
        sys.set_asyncgen_hooks(firstiter, finalizer)


def _leave_alone(generator: object) -> None:
    pass
