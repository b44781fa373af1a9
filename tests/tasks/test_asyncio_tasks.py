"""
Tasks of `clew.tasks.asyncio` beside the bare ones: the same values, exceptions, cancellation, names and stacks.

What is refused is in `test_asyncio_refusals`, what is left of them in `test_asyncio_leftovers`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import sys
import threading
import types
from contextvars import Context
from typing import Any, AsyncIterator, Callable, Dict, List

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task
from tests.context._loops import Main
from tests.context._traces import told
from tests.edges._generators import as_user, complaints, on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]
Start = Callable[..., Any]
Body = Callable[[List[object]], Any]


def stepped(coroutine: Any, **options: Any) -> Any:
    """Start a task that has the values of an accessor: on every version, its coroutine is stepped."""
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(threading.local(), "tenant"))
    try:
        return create_task(coroutine, context=clew.capture(), **options)
    finally:
        unregister()


STARTS: Dict[str, Start] = {
    "plain": create_task,
    "context": lambda coroutine, **options: create_task(coroutine, context=as_user("ada"), **options),
    "snapshot": lambda coroutine, **options: create_task(coroutine, context=as_user("a").run(clew.capture), **options),
    "stepped": stepped,
}
starts = pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)


async def returns(seen: List[object]) -> str:
    for number in range(3):
        seen.append(number)
        await asyncio.sleep(0)
    return "returned"


async def returns_without_a_step(seen: List[object]) -> object:
    return seen


async def fails(seen: List[object]) -> None:
    await returns(seen)
    raise LookupError("lost") from KeyError("cause")


async def cleans_up(seen: List[object]) -> None:
    try:
        await returns(seen)
    except asyncio.CancelledError as cancelled:
        seen.append(("cancelled", cancelled.args))
        await asyncio.sleep(0)
        raise
    finally:
        seen.append("finally")
        await asyncio.sleep(0)
        seen.append("done")


async def catches(seen: List[object]) -> str:
    for _ in range(2):
        with contextlib.suppress(asyncio.CancelledError):
            await returns(seen)
            seen.append("not cancelled")
    return "caught"


async def fails_in_its_cleanup(seen: List[object]) -> None:
    try:
        await returns(seen)
    finally:
        raise LookupError("in the cleanup")


async def cancels_itself(seen: List[object]) -> None:
    asyncio.current_task().cancel()  # type: ignore[union-attr]
    await returns(seen)


async def raises_cancelled(seen: List[object]) -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError("by itself")


async def raises_stop_iteration(seen: List[object]) -> None:
    await asyncio.sleep(0)
    raise StopIteration(7)


async def raises_what_a_refusal_looks_like(seen: List[object]) -> None:
    await asyncio.sleep(0)
    raise RuntimeError("cannot enter context: <Context> is already entered")


async def waits_for_others(seen: List[object]) -> object:
    tasks = [asyncio.ensure_future(cleans_up(seen)), asyncio.ensure_future(returns(seen))]
    try:
        return await asyncio.gather(*tasks)
    finally:
        seen.append([task.cancelled() for task in tasks])


async def waits_in_a_timeout(seen: List[object]) -> object:
    try:
        await asyncio.wait_for(cleans_up(seen), DEADLINE)
    except asyncio.CancelledError:
        seen.append("cancelled in the timeout")
        await asyncio.sleep(0)
        raise
    return "in time"


async def times_out(seen: List[object]) -> object:
    try:
        await asyncio.wait_for(asyncio.get_running_loop().create_future(), 0)
    except asyncio.TimeoutError:
        seen.append("timed out")
    return await returns(seen)


async def shields(seen: List[object]) -> object:
    inner = asyncio.ensure_future(returns(seen))
    try:
        return await asyncio.shield(inner)
    except asyncio.CancelledError:
        return "shielded", await inner


async def iterates(seen: List[object]) -> object:
    async def numbers() -> AsyncIterator[int]:
        try:
            for number in range(2):
                await asyncio.sleep(0)
                yield number
        finally:
            seen.append("generator closed")

    return [each async for each in numbers()]


@types.coroutine
def is_based_on_a_generator(seen: List[object]) -> Any:
    return (yield from returns(seen).__await__())


BODIES: List[Body] = [
    returns,
    returns_without_a_step,
    fails,
    cleans_up,
    catches,
    fails_in_its_cleanup,
    cancels_itself,
    raises_cancelled,
    raises_stop_iteration,
    raises_what_a_refusal_looks_like,
    waits_for_others,
    waits_in_a_timeout,
    times_out,
    shields,
    iterates,
]
if sys.version_info < (3, 12):
    BODIES.append(is_based_on_a_generator)  # which the loop takes for a coroutine until then


async def life(body: Body, start: Start, *, steps: int, requests: int) -> List[object]:
    """Return what comes of a task that is asked to be cancelled after some steps, as often as that."""
    seen: List[object] = []
    states: List[object] = []
    task = start(body(seen))
    for _ in range(steps):
        await asyncio.sleep(0)
    for number in range(requests):
        states.append((task.done(), task.cancel(f"request {number}") if sys.version_info >= (3, 9) else task.cancel()))
        if number:
            await asyncio.sleep(0)
    await asyncio.wait([task])
    states.append((task.done(), task.cancelled(), task.cancel()))
    if hasattr(task, "uncancel"):
        states.append((task.cancelling(), task.uncancel()))
    try:
        states.append(repr(task.result()))
    except BaseException as error:
        states.append(told(error))
    return [states, seen]


@on_asyncio
@pytest.mark.parametrize("requests", range(4))
@pytest.mark.parametrize("body", BODIES)
def test_task_lives_and_ends_as_the_bare_one(run: Run, body: Body, requests: int) -> None:
    async def main() -> None:
        for steps in range(6 if requests else 1):
            expected = await life(body, asyncio.create_task, steps=steps, requests=requests)
            for name, start in STARTS.items():
                assert await life(body, start, steps=steps, requests=requests) == expected, (name, steps)

    with complaints() as found:
        in_empty_context(run, main)
    assert found == []


@starts
def test_name_is_the_one_that_was_given(start: Start) -> None:
    async def main() -> List[str]:
        tasks = [start(returns([]), name="worker"), start(returns([]), name=5), start(returns([])), start(returns([]))]
        names = [task.get_name() for task in tasks]
        await asyncio.wait(tasks)
        return names

    named, number, first, second = asyncio.run(main())
    assert (named, number) == ("worker", "5")
    assert re.match(r"Task-\d+$", first)
    assert int(second[5:]) == int(first[5:]) + 1


def test_name_is_the_one_that_was_given_to_a_group() -> None:
    async def main() -> List[str]:
        async with TaskGroup() as group:
            tasks = [
                group.create_task(returns([]), name="worker"),
                group.create_task(returns([]), name="in a context", context=Context()),
            ]
        return [task.get_name() for task in tasks]

    assert asyncio.run(main()) == ["worker", "in a context"]


@starts
@pytest.mark.parametrize("debug", [False, True])
def test_repr_names_the_function_and_the_place_that_it_is_at(start: Start, debug: bool) -> None:
    async def body() -> None:
        await asyncio.get_running_loop().create_future()

    async def main() -> List[str]:
        task = start(body(), name="worker")
        found = [repr(task)]
        await asyncio.sleep(0)
        found.append(repr(task))
        task.cancel()
        await asyncio.wait([task])
        return [*found, repr(task)]

    found = asyncio.run(main(), debug=debug)
    for text, state in zip(found, ("pending", "pending", "cancelled")):
        assert re.match(rf"<Task {state} name='worker' coro=<.*<locals>\.body\(\) ", text)
        assert "test_asyncio_tasks.py" in text
    assert "wait_for=<Future " in found[1]


def frames(task: Any) -> List[str]:
    return [frame.f_code.co_name for frame in task.get_stack()]


def printed(task: Any) -> List[str]:
    """Return the functions that `print_stack` shows, the last of them being the task's own."""
    text = io.StringIO()
    task.print_stack(file=text)
    return [name for name in re.findall(r"in (\w+)$", text.getvalue(), re.MULTILINE) if name in ("fails", "returns")]


@starts
def test_stack_is_that_of_the_coroutine(start: Start) -> None:
    async def main() -> List[object]:
        task = start(fails([]))
        found = [frames(task), printed(task)]
        await asyncio.sleep(0)
        found += [frames(task), printed(task)]
        await asyncio.wait([task])
        # Of an ended one it is the traceback of the exception.
        found += [frames(task)[-1:], printed(task)[-1:]]
        task.exception()
        return found  # type: ignore[return-value]

    assert asyncio.run(main()) == [["fails"]] * 6


@starts
def test_coroutine_that_the_task_gives_tells_of_the_one_that_it_was_given(start: Start) -> None:
    async def main() -> None:
        given = returns([])
        task = start(given)
        coroutine: Any = task.get_coro()
        assert coroutine is given or (start is not create_task and asyncio.iscoroutine(coroutine))
        for name in ("cr_frame", "cr_code", "cr_running", "cr_await", "__name__", "__qualname__"):
            assert getattr(coroutine, name) == getattr(given, name)
        await asyncio.sleep(0)
        assert coroutine.cr_await is given.cr_await is not None
        await task
        assert coroutine.cr_frame is None

    asyncio.run(main())


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.11 starts tasks in contexts itself")
@pytest.mark.parametrize("name", ["context", "snapshot"])
def test_task_is_a_native_one_in_that_context_where_there_are_any(name: str) -> None:
    async def main() -> None:
        given = returns([])
        task = STARTS[name](given)
        assert task.get_coro() is given
        assert type(task) is asyncio.Task
        await task

    asyncio.run(main())


@starts
def test_tasks_are_among_all_tasks_and_current_while_they_run(start: Start) -> None:
    async def body() -> object:
        await asyncio.sleep(0)
        return asyncio.current_task()

    async def main() -> None:
        task = start(body())
        assert task in asyncio.all_tasks()
        assert await task is task
        assert task not in asyncio.all_tasks()

    asyncio.run(main())


@starts
def test_callbacks_run_in_the_context_of_who_adds_them(start: Start) -> None:
    async def main() -> List[object]:
        user.set("of main")
        seen: List[object] = []
        called = asyncio.Event()
        task = start(returns([]))
        task.add_done_callback(lambda ended: (seen.append((ended is task, user.get())), called.set()))
        await called.wait()
        return seen

    assert in_empty_context(asyncio.run, main()) == [(True, "of main")]


@starts
@on_asyncio
@pytest.mark.parametrize("requests", [1, 2])
def test_traced_task_that_is_cancelled_ends_its_run_as_cancelled_once(run: Run, start: Start, requests: int) -> None:
    @clew.traceable
    async def child() -> None:
        with clew.trace("step"):
            await cleans_up([])

    async def main() -> None:
        task = start(child())
        await asyncio.sleep(0)
        for _ in range(requests):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert task.cancelled()

    before = clew.stats()
    with clew.record() as runs:
        in_empty_context(run, main)
    runs.assert_tree("child [cancelled]\n  step [cancelled]")
    assert clew.stats() == before


@on_asyncio
@pytest.mark.parametrize("in_snapshot", [False, True])
def test_traced_children_of_a_group_that_fails_end_as_failed_and_cancelled(run: Run, in_snapshot: bool) -> None:
    @clew.traceable
    async def waits() -> None:
        await asyncio.get_running_loop().create_future()

    @clew.traceable
    async def raises() -> None:
        await asyncio.sleep(0)
        raise LookupError

    async def main() -> None:
        with clew.trace("request"):
            given: Any = {"context": clew.capture()} if in_snapshot else {}
            with pytest.raises(Exception, match="unhandled errors in a TaskGroup"):  # noqa: PT012
                async with TaskGroup() as outer:
                    outer.create_task(waits(), **given)
                    async with TaskGroup() as inner:
                        inner.create_task(waits(), **given)
                        inner.create_task(raises(), **given)

    with clew.record() as runs:
        in_empty_context(run, main)
    found = sorted((each.name, each.status) for each in runs.find(name="request").children)
    assert found == [("raises", "error"), ("waits", "cancelled"), ("waits", "cancelled")]
    assert runs.find(name="request").status == "success"
