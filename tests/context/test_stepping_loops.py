"""
`wrap_coroutine` on event loops: the body runs in the awaiting task, and the loop sees no difference.

The tests for trio alone, and for anyio on both backends, are in `test_stepping_trio`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
import warnings
from contextvars import Context, copy_context
from typing import Any, AsyncIterator, Callable, List

import pytest

import clew
from tests.context._coroutines import awaiting, context_with, let_finalizers_run, var
from tests.context._loops import ASYNCIO, Main, Wrap, bare, checkpoint, copied, current_task, run_on_trio, shared
from tests.edges._threads import DEADLINE, in_empty_context


@pytest.fixture(params=ASYNCIO)
def run(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    return ASYNCIO[request.param]


@pytest.fixture(params=[*ASYNCIO, "trio"])
def run_anywhere(request: pytest.FixtureRequest) -> Callable[[Main], Any]:
    return run_on_trio if request.param == "trio" else ASYNCIO[request.param]


def test_body_runs_in_the_awaiting_task_and_keeps_its_own_values(run_anywhere: Callable[[Main], Any]) -> None:
    async def body() -> List[object]:
        tasks, values = [current_task()], [var.get()]
        token = var.set("of the body")
        for _ in range(3):
            await checkpoint()
            tasks.append(current_task())
            values.append(var.get())
        var.reset(token)
        return [set(tasks), *values, var.get()]

    async def main() -> List[object]:
        var.set("of the consumer")
        seen = await shared(body())
        return [seen == [{current_task()}, "ada", *["of the body"] * 3, "ada"], var.get()]

    assert in_empty_context(run_anywhere, main) == [True, "of the consumer"]


def test_tasks_take_turns_in_one_context(run: Callable[[Main], Any]) -> None:
    async def adds() -> None:
        for _ in range(5):
            var.set(var.get() + 1)
            await asyncio.sleep(0)

    async def main() -> object:
        await asyncio.gather(*[clew.wrap_coroutine(adds(), context) for _ in range(4)])
        return context[var]

    context = context_with(0)
    assert run(main) == 20


@pytest.mark.parametrize("steps", range(6))
@pytest.mark.parametrize("is_awaited", [False, True])
def test_task_cancelled_before_any_of_its_steps_ends_as_the_bare_one(
    run: Callable[[Main], Any], steps: int, is_awaited: bool
) -> None:
    async def body(seen: List[object]) -> str:
        try:
            for number in range(3):
                seen.append(number)
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            seen.append("cancelled")
            await asyncio.sleep(0)
            raise
        finally:
            seen.append("finally")
            await asyncio.sleep(0)
        return "ended"

    async def main(wrap: Wrap) -> object:
        seen: List[object] = []
        task = asyncio.ensure_future(awaiting(wrap(body(seen))) if is_awaited and steps else wrap(body(seen)))
        for _ in range(steps):
            await asyncio.sleep(0)
        was_running = task.cancel()
        await asyncio.wait([task])
        return seen, was_running, task.cancelled() or task.result()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        traces = [run(lambda: main(wrap)) for wrap in (bare, shared, copied)]  # noqa: B023  it is used at once
        let_finalizers_run()
    assert traces[0] == traces[1] == traces[2]
    assert [each for each in caught if "never awaited" in str(each.message)] == []


async def sleeps(seen: List[object]) -> None:
    try:
        await asyncio.sleep(DEADLINE)
    finally:
        await asyncio.sleep(0)
        seen.append("cleaned up")


async def times_out(wrap: Wrap) -> object:
    seen: List[object] = []
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(wrap(sleeps(seen)), 0)
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(wrap(sleeps(seen)), 0.001)
    return seen


async def times_out_inside(wrap: Wrap) -> object:
    async def body() -> object:
        token = var.set("of the body")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(sleeps(seen), 0.001)
        var.reset(token)
        return seen

    seen: List[object] = []
    return await wrap(body())


async def gathers(wrap: Wrap) -> object:
    async def returns(value: object) -> object:
        await asyncio.sleep(0)
        return value

    async def body() -> object:
        return await asyncio.gather(wrap(returns(1)), asyncio.shield(wrap(returns((2, 3)))), wrap(returns(KeyError(4))))

    return repr(await wrap(body()))


async def survives_its_cancellation(wrap: Wrap) -> object:
    async def body() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(DEADLINE)
        await asyncio.sleep(0)
        return "survived"

    task = asyncio.ensure_future(wrap(body()))
    await asyncio.sleep(0)
    task.cancel()
    return await task


async def passes_things_on(wrap: Wrap) -> object:
    async def puts() -> None:
        for number in range(5):
            async with lock:
                await queue.put(number)

    async def gets() -> object:
        return [await queue.get() for _ in range(5)]

    queue, lock = asyncio.Queue(1), asyncio.Lock()  # type: ignore[var-annotated]
    return await asyncio.gather(wrap(puts()), wrap(gets()))


async def leaves_an_async_generator(wrap: Wrap) -> object:
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(5):
                await asyncio.sleep(0)
                yield number
        finally:
            seen.append("closed")

    async def body() -> None:
        async for number in numbers():
            seen.append(number)
        unfinished = numbers()
        seen.append(await unfinished.__anext__())
        await unfinished.aclose()

    seen: List[object] = []
    await wrap(body())
    return seen


async def shows_its_stack(wrap: Wrap) -> object:
    async def body() -> None:
        await future

    future = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(wrap(body()))
    await asyncio.sleep(0)
    printed = io.StringIO()
    task.print_stack(file=printed)
    names = [frame.f_code.co_name for frame in task.get_stack()]
    shown = re.sub(r"0x[0-9a-f]+|Task-\d+|cb=\[[^]]*\]", "", repr(task) + printed.getvalue())
    future.set_result(None)
    await task
    return names, shown


async def groups_tasks(wrap: Wrap) -> object:
    async def fails() -> None:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]  # 3.11+
            group.create_task(wrap(sleeps(seen)))
            await asyncio.sleep(0)
            raise LookupError

    async def body() -> object:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined]
            group.create_task(wrap(asyncio.sleep(0)))
        with pytest.raises(BaseException, match="unhandled errors in a TaskGroup"):
            await wrap(fails())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):  # type: ignore[attr-defined]
                await wrap(sleeps(seen))
        return seen, asyncio.current_task().cancelling()  # type: ignore[union-attr]

    seen: List[object] = []
    return await wrap(body())


SCENARIOS = [
    times_out,
    times_out_inside,
    gathers,
    survives_its_cancellation,
    passes_things_on,
    leaves_an_async_generator,
    shows_its_stack,
]
if sys.version_info >= (3, 11):
    SCENARIOS.append(groups_tasks)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_wrapped_coroutine_does_on_asyncio_what_the_bare_one_does(
    run: Callable[[Main], Any], scenario: Callable[[Wrap], Any]
) -> None:
    expected = run(lambda: scenario(bare))
    assert run(lambda: scenario(shared)) == expected
    assert run(lambda: scenario(copied)) == expected


def test_tasks_and_callbacks_that_the_body_makes_take_its_values(run: Callable[[Main], Any]) -> None:
    async def look() -> object:
        return var.get()

    async def body() -> List[object]:
        loop = asyncio.get_running_loop()
        called = loop.create_future()
        loop.call_soon(lambda: called.set_result(var.get()))
        return [await called, await asyncio.ensure_future(look())]

    async def main() -> object:
        return await shared(body())

    assert run(main) == ["ada", "ada"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.11 has create_task(context=)")
def test_task_of_the_same_context_is_stepped_in_it(run: Callable[[Main], Any]) -> None:
    async def body() -> None:
        for _ in range(3):
            var.set(var.get() + 1)
            await asyncio.sleep(0)

    async def main() -> object:
        wrapped = clew.wrap_coroutine(body(), context)
        await asyncio.get_running_loop().create_task(wrapped, context=context)  # type: ignore[call-arg]
        return context[var]

    context = context_with(0)
    assert run(main) == 3


def test_wrapped_coroutine_is_a_main_task_of_its_own_on_every_loop(run_anywhere: Callable[[Main], Any]) -> None:
    async def body() -> object:
        await checkpoint()
        return var.get()

    assert run_anywhere(lambda: shared(body())) == "ada"
    assert run_anywhere(lambda: clew.wrap_coroutine(body(), copy_context())) == "default"
    assert run_anywhere(lambda: clew.wrap_coroutine(body(), Context())) == "default"
