"""
What happens in a task group, in scenarios that give a trace: the same for every group, with a context and without.

They are written with anyio, which works in trio's nurseries, too.
"""

from __future__ import annotations

import contextlib
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, List

import anyio
import anyio.lowlevel
import pytest

import clew

if TYPE_CHECKING:
    from tests.edges._groups import Kind

Open = Callable[[], Any]
Trace = List[Any]
Options = Callable[[], Dict[str, Any]]

# With which options a task is started; each time with a new context, as tasks that share one are for other tests.
OPTIONS: Dict[str, Options] = {
    "none": dict,
    "empty": lambda: {"context": Context()},
    "shared": lambda: {"context": copy_context()},
    "snapshot": lambda: {"context": clew.capture()},
}
options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def described(error: Any) -> Any:
    """Return an exception and those in it and behind it, as something that can be compared."""
    if error is None:
        return None
    members = [described(each) for each in getattr(error, "exceptions", ())]
    # Whoever is among them in which order is up to the loop.
    members.sort(key=repr)
    said = str(error) if not members else str(error).split(" (")[0]
    return type(error).__name__, said, members, described(error.__cause__), error.__suppress_context__


@contextlib.contextmanager
def ending(trace: Trace) -> Iterator[None]:
    """Note how a block ends, whatever it raises but for a cancellation that it must not keep."""
    try:
        yield
    except anyio.get_cancelled_exc_class():
        trace.append("cancelled")
        raise
    except BaseException as error:
        trace.append(described(error))
    else:
        trace.append("ended")


async def returns(open_group: Open, options: Options, trace: Trace) -> None:
    async def child(*args: object) -> str:
        await anyio.lowlevel.checkpoint()
        trace.append(args)
        return "unused"

    async with open_group() as group:
        trace.append(group.start_soon(child, 1, **options()) is None)
        trace.append(group.start_soon(partial(child, 1), 2, name="second", **options()) is None)
    trace.append(group.cancel_scope.cancel_called)
    trace.sort(key=repr)


async def raises(open_group: Open, options: Options, trace: Trace) -> None:
    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("child") from ValueError("cause")

    with ending(trace):
        async with open_group() as group:
            group.start_soon(fail, **options())
            with ending(trace):
                await anyio.sleep_forever()


async def raises_at_once(open_group: Open, options: Options, trace: Trace) -> None:
    async def fail() -> None:
        raise KeyError("child")

    with ending(trace):
        async with open_group() as group:
            group.start_soon(fail, **options())
            group.start_soon(fail, **options())
            raise ValueError("block")


async def raises_with_siblings(open_group: Open, options: Options, trace: Trace) -> None:
    async def fail(error: Exception) -> None:
        with anyio.CancelScope(shield=True):  # so that both raise, whichever is first
            await is_set.wait()
        raise error

    async def wait() -> None:
        with ending(trace):
            is_set.set()
            await anyio.sleep_forever()

    is_set = anyio.Event()
    with ending(trace):
        async with open_group() as group:
            group.start_soon(fail, KeyError("one"), **options())
            group.start_soon(fail, LookupError("other"), **options())
            group.start_soon(wait, **options())
            await anyio.sleep_forever()


async def raises_a_group(open_group: Open, options: Options, trace: Trace) -> None:
    async def fail() -> None:
        async with open_group() as inner:
            inner.start_soon(fail_inside, **options())

    async def fail_inside() -> None:
        raise KeyError("inner")

    with ending(trace):
        async with open_group() as group:
            group.start_soon(fail, **options())


async def is_level_triggered(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        for _ in range(3):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                trace.append("cancelled")
        await anyio.sleep_forever()

    async with open_group() as group:
        group.start_soon(child, **options())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    trace.append(group.cancel_scope.cancelled_caught)


async def is_cancelled_and_returns(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        with contextlib.suppress(anyio.get_cancelled_exc_class()):
            await anyio.sleep_forever()
        trace.append("returned")

    async with open_group() as group:
        group.start_soon(child, **options())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def is_cancelled_before_the_first_step(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        trace.append("began")
        with ending(trace):
            await anyio.lowlevel.checkpoint()

    with ending(trace):
        async with open_group() as group:
            group.start_soon(child, **options())
            group.cancel_scope.cancel()
    trace.append(group.cancel_scope.cancelled_caught)


async def is_started_in_a_cancelled_group(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        trace.append("began")
        with ending(trace):
            await anyio.lowlevel.checkpoint()

    async with open_group() as group:
        group.cancel_scope.cancel()
        group.start_soon(child, **options())


async def has_timeouts(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        with anyio.move_on_after(0) as scope:
            await anyio.sleep_forever()
        trace.append((scope.cancel_called, scope.cancelled_caught))
        with ending(trace), anyio.fail_after(0):
            await anyio.sleep_forever()
        with anyio.move_on_after(1000) as scope:
            await anyio.lowlevel.checkpoint()
        trace.append(scope.cancel_called)

    async with open_group() as group:
        group.start_soon(child, **options())


async def has_a_shield(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                trace.append("cleaned up")
            with ending(trace):
                await anyio.lowlevel.checkpoint()

    async with open_group() as group:
        group.start_soon(child, **options())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()


async def cancels_its_group(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        group.cancel_scope.cancel()
        trace.append("cancels")
        with ending(trace):
            await anyio.sleep_forever()

    async with open_group() as group:
        group.start_soon(child, **options())
        await anyio.sleep_forever()


async def starts_siblings(open_group: Open, options: Options, trace: Trace) -> None:
    async def child(number: int) -> None:
        trace.append(number)
        if number:
            group.start_soon(child, number - 1, **options())
            await anyio.lowlevel.checkpoint()

    async with open_group() as group:
        group.start_soon(child, 3, **options())


async def has_a_group_of_its_own(open_group: Open, options: Options, trace: Trace) -> None:
    async def child() -> None:
        with anyio.move_on_after(0) as scope:
            async with open_group() as inner:
                inner.start_soon(anyio.sleep_forever, **options())
                inner.start_soon(anyio.sleep_forever)
        trace.append(scope.cancelled_caught)
        async with open_group() as inner:
            trace.append(await inner.start(starts, **options()))

    async def starts(*, task_status: Any) -> None:
        task_status.started("inner")

    async with open_group() as group:
        group.start_soon(child, **options())


async def is_started(open_group: Open, options: Options, trace: Trace) -> None:
    async def child(*args: object, task_status: Any = None) -> None:
        await anyio.lowlevel.checkpoint()
        task_status.started(args)
        trace.append("goes on")
        with ending(trace):
            task_status.started("once more")
        await anyio.lowlevel.checkpoint()
        trace.append("ends")

    async with open_group() as group:
        trace.append(await group.start(child, **options()))
        trace.append(await group.start(partial(child, 1), 2, name="second", **options()))
    trace.sort(key=repr)


async def is_started_in_vain(open_group: Open, options: Options, trace: Trace) -> None:
    async def returns(*, task_status: Any) -> None:
        await anyio.lowlevel.checkpoint()

    async def raises(*, task_status: Any) -> None:
        await anyio.lowlevel.checkpoint()
        raise KeyError("before")

    async def raises_after(*, task_status: Any) -> None:
        task_status.started()
        await anyio.lowlevel.checkpoint()
        raise KeyError("after")

    async def waits(*, task_status: Any) -> None:
        with ending(trace):
            await anyio.sleep_forever()

    with ending(trace):
        async with open_group() as group:
            for child in (returns, raises):
                with ending(trace):
                    await group.start(child, **options())
            with anyio.move_on_after(0) as scope:
                await group.start(waits, **options())
            trace.append(scope.cancelled_caught)
            await group.start(raises_after, **options())
            with ending(trace):
                await anyio.sleep_forever()


SCENARIOS = [
    returns,
    raises,
    raises_at_once,
    raises_with_siblings,
    raises_a_group,
    is_level_triggered,
    is_cancelled_and_returns,
    is_cancelled_before_the_first_step,
    is_started_in_a_cancelled_group,
    has_timeouts,
    has_a_shield,
    cancels_its_group,
    starts_siblings,
    has_a_group_of_its_own,
    is_started,
    is_started_in_vain,
]
scenarios = pytest.mark.parametrize("scenario", SCENARIOS)


def trace_of(kind: Kind, open_group: Open, scenario: Any, options: Options = dict) -> Trace:
    trace: Trace = []
    kind.run(lambda: scenario(open_group, options, trace))
    return trace
