"""
`wrap_async_generator`: an async generator whose body runs in a context of its own, in its consumer's task.

No event loop is known here: what the body awaits is handed on to whichever loop the consumer runs on.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from itertools import repeat
from types import AsyncGeneratorType
from typing import (
    TYPE_CHECKING,
    Any,
    AsyncGenerator as AsyncGeneratorOf,
    AsyncIterator,
    Iterable,
    List,
    Literal,
    Optional,
    TypeVar,
    Union,
    overload,
)

from clew.context._stepping.bodies import check_body, driver_codes, named
from clew.context._stepping.inheriting import Beginning, inheriting
from clew.context._stepping.throwing import Thrown, step_codes, without_frames, without_steps, without_this_frame

if TYPE_CHECKING:
    from contextvars import Context, ContextVar

    from clew.context.snapshot import Snapshot

__all__ = ("StepHere", "drive_async", "first_operation", "wrap_async_generator")

Y = TypeVar("Y")
S = TypeVar("S")


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
    body: Any = generator if isinstance(generator, AsyncGeneratorType) else _delegate(generator)
    return named(drive_async(capture(), body), generator)


async def _delegate(generator: AsyncGeneratorOf[Y, S]) -> AsyncGeneratorOf[Y, S]:
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


class _Step(_Map):
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


class StepHere(_Step):
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
    step, nexts, repeated, asend, thrown, as_thrown = _Step, _NEXTS, repeat, body.asend, Thrown, without_this_frame
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
step_codes.update(fn.__code__ for fn in (_Step.send, _Step.throw, _Step._run, StepHere._run))


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
