"""
`asyncio.timeout` and `TaskGroup` that span a `yield`, or are around a step, do as in the plain generator (G11).

Those of anyio and trio are in `test_g11_cancel_scopes`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, AsyncIterator, Callable, List

import pytest

from tests.context._loops import Main
from tests.edges._generators import Keep, bare, end, keeps, on_asyncio, take
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]
Scenario = Callable[[Keep], Any]

SOON = 0.001  # seconds


async def times_out_in_the_body(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        try:
            async with asyncio.timeout(SOON):  # type: ignore[attr-defined]  # 3.11+
                yield "within"
                await asyncio.sleep(DEADLINE)
        except TimeoutError:
            yield "timed out"

    return [each async for each in keep(body)()], cancelling()


async def times_out_while_the_consumer_waits(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        try:
            async with asyncio.timeout(SOON):  # type: ignore[attr-defined]
                yield "within"
        except TimeoutError:
            yield "timed out"

    generator = keep(body)()
    found = [await take(generator)]
    try:
        await asyncio.sleep(DEADLINE)
    except asyncio.CancelledError as cancelled:
        found.append(await generator.athrow(cancelled))
    await end(generator)
    return found, cancelling()


async def times_out_around_a_step(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        token = user.set("body")
        try:
            yield "within"
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            found.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            found.append(user.get())
            user.reset(token)

    found: List[object] = []
    try:
        async with asyncio.timeout(SOON):  # type: ignore[attr-defined]
            async for each in keep(body)():
                found.append(each)
    except TimeoutError:
        found.append("timed out")
    return found, cancelling()


async def groups_tasks(keep: Keep) -> object:
    async def child(delay: float) -> None:
        found.append(user.get())
        await asyncio.sleep(delay)
        raise LookupError

    async def body() -> AsyncIterator[object]:
        user.set("body")
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]  # 3.11+
            group.create_task(child(DEADLINE))
            await asyncio.sleep(0)
            yield "within"
            group.create_task(child(0))
            await asyncio.sleep(DEADLINE)

    found: List[object] = []
    try:
        async for each in keep(body)():
            found.append(each)
    except Exception as error:
        found.append([type(each) for each in error.exceptions])  # type: ignore[attr-defined]
    return found, cancelling()


def cancelling() -> int:
    return asyncio.current_task().cancelling()  # type: ignore[union-attr]


ASYNCIO_SCENARIOS = {
    times_out_in_the_body: ["within", "timed out"],
    times_out_while_the_consumer_waits: ["within", "timed out"],
    times_out_around_a_step: ["within", "cancelled", "body", "timed out"],
    groups_tasks: ["body", "within", "body", [LookupError]],
}


@keeps
@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.11 has asyncio.timeout and TaskGroup")
@on_asyncio
@pytest.mark.parametrize("scenario", ASYNCIO_SCENARIOS)
def test_timeouts_and_task_groups_do_in_a_generator_what_they_do_in_the_bare_one(
    keep: Keep, run: Run, scenario: Scenario
) -> None:
    expected = ASYNCIO_SCENARIOS[scenario], 0  # type: ignore[index]
    assert in_empty_context(run, lambda: scenario(bare)) == expected
    assert in_empty_context(run, lambda: scenario(keep)) == expected


async def survives_its_cancellation(keep: Keep) -> object:
    async def body() -> AsyncIterator[object]:
        try:
            is_waiting.set()
            await asyncio.sleep(DEADLINE)
        except asyncio.CancelledError:
            token = user.set("cancelled")
            await asyncio.sleep(0)
            yield user.get()
            user.reset(token)
        yield user.get()

    async def consume() -> object:
        return [each async for each in keep(body)()]

    is_waiting = asyncio.Event()
    task = asyncio.ensure_future(consume())
    await is_waiting.wait()
    task.cancel()
    return await task


@keeps
@on_asyncio
def test_cancelled_task_reaches_the_body_once_and_may_be_survived(keep: Keep, run: Run) -> None:
    expected = ["cancelled", "nobody"]
    assert in_empty_context(run, lambda: survives_its_cancellation(bare)) == expected
    assert in_empty_context(run, lambda: survives_its_cancellation(keep)) == expected
