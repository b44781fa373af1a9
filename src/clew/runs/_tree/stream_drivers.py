"""
Drive a traced generator or async generator, with its run current in each step.

The drivers without a run, which explain the technique, are in `clew.context._stepping`.
"""

from __future__ import annotations

from inspect import CO_ITERABLE_COROUTINE
from itertools import repeat
from types import CodeType, FunctionType, coroutine
from typing import Any, AsyncGenerator, Callable, Generator, List

from clew.context._stepping.async_drivers import Step, first_operation
from clew.context._stepping.throwing import Exit, Thrown, without_steps, without_this_frame
from clew.runs._tree.blocks import current_identity, current_options
from clew.runs._tree.stream_run import StreamRun

__all__ = ("drive_async_traced", "driver_for")

_current = current_identity.get
_set_current = current_identity.set
_reset_current = current_identity.reset
_get_options = current_options.get


def drive_traced(  # noqa: C901, PLR0912, PLR0915  written out: a call for each item would double its cost
    stream: StreamRun, slot: List[Any]
) -> Generator[Any, Any, Any]:
    """
    Step a generator. Its run is current during each step. The caller puts it into `slot` before the first step.

    `clew.context._stepping.drivers.drive` is the same without a run, and explains the rest.
    """
    run = stream.begin()
    generator = slot.pop()
    send = step = generator.send
    get_current, set_current, reset_current, get_around = _current, _set_current, _reset_current, _get_options
    as_thrown, exit_of, as_ended, repeated = without_this_frame, Exit, without_steps, repeat
    before, around = get_current(), get_around()
    token: Any = None  # set only during a step: a token keeps its context alive
    add: Any = None
    slot.append(None)
    try:
        while True:
            try:
                slot.append(run(step, slot.pop()))
                step = None
                sent = yield slot.pop()
                if sent is None:
                    identity, around, add = stream.identity, stream.options, stream.chunks.append
                    most, longest = stream.limits_of_uncopied_texts()
                    before = get_current()  # for an interrupt that arrives before there is a token
                    for _ in repeated(None, most):
                        if get_around() is not around:
                            break
                        try:
                            token = set_current(identity)
                            item = send(None)
                        finally:
                            if token is not None and get_current() is identity and get_around() is around:
                                reset_current(token)
                            else:
                                stream.leave(token, before, around)
                                token = None  # before `around` changes, which a second `leave` would restore
                                identity, around = stream.identity, stream.options
                            token = None
                        if type(item) is str and len(item) < longest:
                            add(item)
                            sent = yield item
                        else:
                            slot.append(item)
                            del item
                            stream.add(slot[0])
                            sent = yield slot.pop()
                        if sent is not None:
                            break
                step = send
                slot.append(sent)
                del sent
            except BaseException as error:
                add = None  # the traceback keeps this frame, which need not keep the chunks
                if token is not None:  # an interrupt arrived during a step
                    stream.leave(token, before, around)
                    token = None
                if generator.gi_frame is None:
                    stream.end(error, is_closed=False)
                    raise as_ended(error)  # noqa: B904  the same exception
                if step is not None:
                    # The object of the generator's `yield from` raised before the generator resumed. End the generator.
                    run(generator.close)
                    raise
                if isinstance(error, GeneratorExit):
                    step, run = exit_of(generator).throw, stream.step_of_exit()
                else:
                    step = generator.throw
                slot[:] = (as_thrown(error),)
    except StopIteration as end:
        return end.value


# A driver for generator-based coroutines, as in `clew.context._stepping.drivers`.
_drive_traced_coroutine: Any = coroutine(FunctionType(drive_traced.__code__, globals(), "drive_traced"))


def driver_for(code: CodeType) -> Callable[[StreamRun, List[Any]], Any]:
    """
    Return the driver for the generators of a function that has this code.
    """
    return _drive_traced_coroutine if code.co_flags & CO_ITERABLE_COROUTINE else drive_traced


async def drive_async_traced(  # noqa: C901, PLR0912, PLR0915  written out, as `drive_traced`
    stream: StreamRun, generator: Any
) -> AsyncGenerator[Any, Any]:
    """
    Step an async generator. Its run is current from the request of an item until the item arrives.

    The run is current in the consumer's context, also while the generator awaits something, as in a traced coroutine.
    `clew.context._stepping.async_drivers.drive_async` is the same without a run, and explains the rest.
    """
    stream.begin()
    step, repeated, asend, thrown, as_thrown = Step, repeat, generator.asend, Thrown, without_this_frame
    get_current, set_current, reset_current, get_around = _current, _set_current, _reset_current, _get_options
    as_ended, next_ = without_steps, next
    operation, is_closed = first_operation(generator), False
    # One awaitable for all steps that send nothing, of the operation that the list then holds: creating one takes as
    # long as the step. It is never awaited twice at once: the interpreter refuses to resume this driver meanwhile.
    plain: List[Any] = [None]
    plain_step = step(next_, map(plain.__getitem__, repeated(0)))
    slot: List[Any] = []
    before, around = get_current(), get_around()
    token: Any = None  # this and `add` as in `drive_traced`
    add: Any = None
    try:
        while True:
            try:
                before, around = get_current(), get_around()
                try:
                    if is_closed and stream.is_collected():
                        slot.append(await stream.closed_in_copy(operation, is_awaiting=generator.ag_running))
                    else:
                        token = stream.enter(around)
                        slot.append(await step(next_, repeated(operation)))
                except GeneratorExit:
                    token = stream.token_unless_collected(token)
                    raise
                finally:
                    stream.leave(token, before, around)
                    token = None
                operation, is_closed = None, False
                stream.add(slot[0])
                sent = yield slot.pop()
                if sent is None:
                    identity, around, add = stream.identity, stream.options, stream.chunks.append
                    most, longest = stream.limits_of_uncopied_texts()
                    for _ in repeated(None, most):
                        if get_around() is not around:
                            break
                        plain[0] = asend(None)
                        before = get_current()
                        try:
                            token = set_current(identity)
                            item = await plain_step
                        except GeneratorExit:
                            token = stream.token_unless_collected(token)
                            raise
                        finally:
                            if token is not None and get_current() is identity and get_around() is around:
                                try:
                                    reset_current(token)
                                except ValueError:  # awaited in a copy of the context
                                    stream.leave(token, before, around)
                            else:
                                stream.leave(token, before, around)
                                token = None  # before `around` changes, which a second `leave` would restore
                                identity, around = stream.identity, stream.options
                            token = None
                        if type(item) is str and len(item) < longest:
                            add(item)
                            sent = yield item
                        else:
                            slot.append(item)
                            del item
                            stream.add(slot[0])
                            sent = yield slot.pop()
                        if sent is not None:
                            break
                operation = asend(sent)
                del sent
            except BaseException as error:
                add = None
                if token is not None:
                    stream.leave(token, before, around)
                    token = None
                if generator.ag_frame is None or getattr(operation, "error", None) is not None:
                    stream.end(error, is_closed=is_closed)
                    raise as_ended(error)  # noqa: B904  the same exception
                del slot[:]
                is_closed = isinstance(error, GeneratorExit)
                if generator.ag_running:
                    operation = thrown.into(plain[0] if operation is None else operation, as_thrown(error))
                elif operation is None:
                    operation = thrown(generator.athrow(as_thrown(error)))
                else:
                    # The object that the generator awaits raised before the generator resumed. End the generator.
                    if is_closed and stream.is_collected():
                        await stream.closed_in_copy(generator.aclose(), is_awaiting=False)
                    else:
                        await step(next_, repeated(generator.aclose()))
                    stream.end(error, is_closed=is_closed)
                    raise
    except StopAsyncIteration:
        pass
    finally:
        del operation
