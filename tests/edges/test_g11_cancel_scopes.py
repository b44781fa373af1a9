"""
Cancel scopes and task groups of anyio and trio that span a `yield`, or are around a step, do as in the plain generator.

asyncio's own are in `test_g11_timeouts`. A task for each item breaks all of them (G11).
"""

from __future__ import annotations

from typing import Any, AsyncIterator, Callable, List

import anyio
import anyio.lowlevel
import pytest
import trio

from tests.context._loops import Main, current_task, run_on_trio
from tests.edges._generators import Keep, bare, in_task, keeps, on_asyncio, on_every_loop, pause, take
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]
Scenario = Callable[[Keep], Any]

SOON = 0.001  # seconds


async def moves_on_in_the_body(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        with anyio.move_on_after(SOON) as scope:
            yield "within"
            await anyio.sleep(DEADLINE)
        yield scope.cancel_called

    return [each async for each in keep(body)()]


async def fails_in_the_body(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        try:
            with anyio.fail_after(SOON):
                yield "within"
                await anyio.sleep(DEADLINE)
        finally:
            yield "late"

    found: List[object] = []
    try:
        async for each in keep(body)():
            found.append(each)
    except TimeoutError:
        found.append("timed out")
    return found


async def expires_while_the_consumer_waits(keep: Keep) -> object:
    """Have the body's scope cancel its consumer, who hands that to the body."""

    async def body() -> AsyncIterator[object]:
        with anyio.move_on_after(SOON) as scope:
            yield "within"
        yield scope.cancel_called

    generator = keep(body)()
    found = [await take(generator)]
    try:
        await anyio.sleep(DEADLINE)
    except anyio.get_cancelled_exc_class() as cancelled:
        found.append(await generator.athrow(cancelled))
    await anyio.lowlevel.checkpoint()
    await generator.aclose()
    return found


async def is_cancelled_by_the_consumers_scope(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        token = user.set("body")
        try:
            yield "within"
            await anyio.sleep(DEADLINE)
        except anyio.get_cancelled_exc_class():
            found.append("cancelled")
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            raise
        finally:
            found.append(user.get())
            user.reset(token)

    found: List[object] = []
    with anyio.move_on_after(SOON) as scope:
        async for each in keep(body)():
            found.append(each)
    await anyio.lowlevel.checkpoint()
    return found, scope.cancel_called


async def is_shielded_over_a_yield(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        with anyio.CancelScope(shield=True):
            yield "first"
            await anyio.sleep(SOON)
            yield "second"
        try:
            await anyio.sleep(DEADLINE)
        finally:
            found.append("shielded no more")

    found: List[object] = []
    with anyio.CancelScope() as scope:
        generator = keep(body)()
        found.append(await take(generator))
        scope.cancel()
        found.append(await take(generator))
        found.append(await take(generator))
    await anyio.lowlevel.checkpoint()
    return found


async def has_a_task_group(keep: Keep) -> object:
    async def child(delay: float, *, task_status: Any) -> None:
        task_status.started(user.get())
        await anyio.sleep(delay)
        raise LookupError

    async def body() -> AsyncIterator[object]:
        user.set("body")
        async with anyio.create_task_group() as group:
            yield await group.start(child, DEADLINE)
            yield await group.start(child, SOON)
            await anyio.sleep(DEADLINE)

    found: List[object] = []
    try:
        async for each in keep(body)():
            found.append(each)
    except Exception as error:
        found.append([type(each) for each in error.exceptions])  # type: ignore[attr-defined]
    await anyio.lowlevel.checkpoint()
    return found


async def is_cancelled_once(keep: Keep) -> object:
    """Cancel the consumer's task while the body waits: it is the body's own."""

    async def body() -> AsyncIterator[object]:
        try:
            yield "within"
            is_waiting.set()
            await anyio.sleep(DEADLINE)
        except anyio.get_cancelled_exc_class():
            found.append("cancelled")
            raise
        finally:
            found.append("finally")

    async def consume() -> None:
        async for each in keep(body)():
            found.append(each)

    found: List[object] = []
    is_waiting = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(consume)
        await is_waiting.wait()
        group.cancel_scope.cancel()
    return found


SCENARIOS = {
    moves_on_in_the_body: ["within", True],
    fails_in_the_body: ["within", "late", "timed out"],
    expires_while_the_consumer_waits: ["within", True],
    is_cancelled_by_the_consumers_scope: (["within", "cancelled", "body"], True),
    is_shielded_over_a_yield: ["first", "second", "shielded no more"],
    has_a_task_group: ["body", "body", [LookupError]],
    is_cancelled_once: ["within", "cancelled", "finally"],
}


@keeps
@on_every_loop
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_cancel_scopes_do_in_a_generator_what_they_do_in_the_bare_one(keep: Keep, run: Run, scenario: Scenario) -> None:
    expected = SCENARIOS[scenario]  # type: ignore[index]
    assert in_empty_context(run, lambda: scenario(bare)) == expected
    assert in_empty_context(run, lambda: scenario(keep)) == expected


def task_per_item(fn: Any) -> Any:
    """Step in a task of its own each time, as many libraries do."""

    async def stepped() -> AsyncIterator[object]:
        generator = fn()
        while True:
            try:
                yield await in_task(take(generator))
            except StopAsyncIteration:
                return

    return stepped


async def leaves_a_scope(keep: Keep) -> List[object]:
    async def body() -> AsyncIterator[object]:
        tasks.append(current_task())
        with anyio.CancelScope():
            yield
            tasks.append(current_task())
        await pause()

    tasks: List[object] = []
    async for _ in keep(body)():
        tasks.append(current_task())
    return tasks


@on_asyncio
def test_task_for_each_item_breaks_what_spans_a_yield(run: Run) -> None:
    with pytest.raises(RuntimeError, match="in a different task than it was entered in"):
        run(lambda: leaves_a_scope(task_per_item))


@keeps
@on_every_loop
def test_body_runs_in_the_task_of_its_consumer(keep: Keep, run: Run) -> None:
    async def main() -> bool:
        return set(await leaves_a_scope(keep)) == {current_task()}

    assert run(main)


# trio's own


async def has_trio_scopes(keep: Keep) -> object:
    async def child(task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        task_status.started(user.get())
        await trio.sleep(1)
        found.append("child")

    async def body() -> AsyncIterator[object]:
        user.set("body")
        with trio.move_on_after(2) as scope:
            async with trio.open_nursery() as nursery:
                yield await nursery.start(child)
                yield trio.current_effective_deadline() - start
                await trio.sleep_forever()
        yield scope.cancelled_caught
        with trio.fail_after(1):
            yield trio.current_effective_deadline() - trio.current_time()
            await trio.sleep_forever()

    found: List[object] = []
    start = trio.current_time()
    try:
        async for each in keep(body)():
            found.append(each)
    except trio.TooSlowError:
        found.append("too slow")
    return found, trio.current_time() - start


@keeps
def test_trio_scopes_do_in_a_generator_what_they_do_in_the_bare_one(keep: Keep) -> None:
    expected = ["body", 2.0, "child", True, 1.0, "too slow"], 3.0
    assert in_empty_context(run_on_trio, lambda: has_trio_scopes(bare)) == expected
    assert in_empty_context(run_on_trio, lambda: has_trio_scopes(keep)) == expected
