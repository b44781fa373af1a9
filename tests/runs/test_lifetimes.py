"""
After a run has ended: what was started in it nests under it, and nothing leads to its inputs and outputs any more.

How and when the run of a stream ends is in `test_stream_ends`.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from contextvars import copy_context
from types import FrameType
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterator, List, Tuple

import pytest
import trio
import trio.lowlevel

import clew
from clew.runs._tree.identity import Identity
from tests.context._coroutines import finish
from tests.context._loops import ASYNCIO, Main, run_on_trio
from tests.edges._generators import pause, run_by_hand
from tests.edges._threads import DEADLINE, in_empty_context, is_gone, nothing

if TYPE_CHECKING:
    from tests.runs._watching import Watching

Run = Callable[[Main], Any]
on_every_loop = pytest.mark.parametrize("run", [*ASYNCIO.values(), run_on_trio], ids=[*ASYNCIO, "trio"])


# A job that nobody waits for nests under the run that has started it, and has ended


@clew.traceable
def late() -> None:
    pass


def check_late(runs: clew.Recording) -> None:
    runs.assert_tree("parent\n  late")
    parent, child = runs
    assert parent.end_time_ns is not None
    assert child.start_time_ns >= parent.end_time_ns


def in_a_pool(job: Callable[[], None]) -> Callable[[], object]:
    pool = clew.ContextThreadPoolExecutor(1)
    future = pool.submit(job)

    def finish() -> None:
        future.result(DEADLINE)
        pool.shutdown()

    return finish


def in_a_thread(job: Callable[[], None]) -> Callable[[], object]:
    thread = clew.ContextThread(target=job)
    thread.start()
    return lambda: thread.join(DEADLINE)


def in_a_timer(job: Callable[[], None]) -> Callable[[], object]:
    timer = clew.ContextTimer(0, job)
    timer.start()
    return lambda: timer.join(DEADLINE)


@pytest.mark.parametrize("start", [in_a_pool, in_a_thread, in_a_timer])
def test_job_of_a_thread_nests_under_its_finished_parent(start: Callable[..., Any]) -> None:
    go = threading.Event()

    def job() -> None:
        assert go.wait(DEADLINE)
        late()

    @clew.traceable
    def parent() -> Callable[[], None]:
        finish: Callable[[], None] = start(job)
        return finish

    with clew.record() as runs:
        finish = parent()
        go.set()
        finish()
    check_late(runs)


@on_every_loop
def test_task_nests_under_its_finished_parent(run: Run) -> None:
    async def main() -> None:
        async def job() -> None:
            await wait()
            late()

        @clew.traceable
        async def parent() -> None:
            start(job)

        if run is run_on_trio:
            go = trio.Event()
            wait: Any = go.wait
            async with trio.open_nursery() as nursery:
                start: Any = nursery.start_soon
                await parent()
                go.set()
        else:
            tasks: List[Any] = []
            gone = asyncio.Event()
            wait, start = gone.wait, lambda job: tasks.append(asyncio.ensure_future(job()))
            await parent()
            gone.set()
            await tasks[0]

    with clew.record() as runs:
        run(main)
    check_late(runs)


def test_system_task_nests_under_its_finished_parent() -> None:
    async def main() -> None:
        go, done = trio.Event(), trio.Event()

        async def job() -> None:
            await go.wait()
            late()
            done.set()

        @clew.traceable
        async def parent() -> None:
            trio.lowlevel.spawn_system_task(job, context=copy_context())

        await parent()
        go.set()
        await done.wait()

    with clew.record() as runs:
        run_on_trio(main)
    check_late(runs)


@pytest.mark.parametrize("name", ASYNCIO)
def test_timer_of_the_loop_nests_under_its_finished_parent(name: str) -> None:
    async def main() -> None:
        done = asyncio.Event()

        def job() -> None:
            late()
            done.set()

        @clew.traceable
        def parent() -> None:
            asyncio.get_running_loop().call_later(0, job)

        parent()
        await done.wait()

    with clew.record() as runs:
        ASYNCIO[name](main)
    check_late(runs)


@on_every_loop
def test_job_of_a_generator_nests_under_it_when_it_has_ended(run: Run) -> None:
    def start() -> None:
        snapshots.append(clew.capture())

    @clew.traceable(name="parent")
    def parent() -> Iterator[int]:
        yield 1
        start()
        yield 2

    @clew.traceable(name="parent")
    async def async_parent() -> AsyncIterator[int]:
        yield 1
        await pause()
        start()
        yield 2

    async def read() -> None:
        assert list(parent()) == [1, 2]

    async def read_async() -> None:
        assert [item async for item in async_parent()] == [1, 2]

    for main in (read, read_async):
        snapshots: List[clew.Snapshot] = []
        with clew.record() as runs:
            run(main)
            snapshots[0].run(late)
        check_late(runs)


# What is left of a run


class Payload:
    """Be what a function gets and returns, which a weak reference can watch."""


def held_by_a_snapshot() -> Tuple[object, Callable[[], object]]:
    return clew.capture(), nothing


def held_by_a_context() -> Tuple[object, Callable[[], object]]:
    return copy_context(), nothing


def held_by_a_timer() -> Tuple[object, Callable[[], object]]:
    timer = clew.ContextTimer(DEADLINE, nothing)
    timer.start()

    def release() -> None:
        timer.cancel()
        timer.join(DEADLINE)

    return timer, release


def held_by_a_thread() -> Tuple[object, Callable[[], object]]:
    is_over, is_in = threading.Event(), threading.Event()

    def sit() -> None:
        is_in.set()
        is_over.wait(DEADLINE)

    thread = clew.ContextThread(target=sit)
    thread.start()
    assert is_in.wait(DEADLINE)

    def release() -> None:
        is_over.set()
        thread.join(DEADLINE)

    return thread, release


def held_by_a_job() -> Tuple[object, Callable[[], object]]:
    is_over = threading.Event()
    pool = clew.ContextThreadPoolExecutor(1)
    running, waiting = pool.submit(is_over.wait, DEADLINE), pool.submit(nothing)

    def release() -> None:
        is_over.set()
        pool.shutdown()

    return (running, waiting), release


def held_by_a_bound_function() -> Tuple[object, Callable[[], object]]:
    return clew.bind(nothing), nothing


def items() -> Iterator[int]:
    yield 1
    yield 2


def begun(generator: Any) -> Tuple[object, Callable[[], object]]:
    next(generator)
    return generator, generator.close


def held_by_a_generator() -> Tuple[object, Callable[[], object]]:
    return begun(clew.context_generator(items)())


def held_by_a_traced_generator() -> Tuple[object, Callable[[], object]]:
    return begun(clew.traceable(items)())


def held_by_a_traced_generator_that_has_ended() -> Tuple[object, Callable[[], object]]:
    generator, close = begun(clew.traceable(items)())
    close()
    return generator, nothing


HOLDERS: List[Callable[[], Any]] = [
    held_by_a_snapshot,
    held_by_a_context,
    held_by_a_timer,
    held_by_a_thread,
    held_by_a_job,
    held_by_a_bound_function,
    held_by_a_generator,
    held_by_a_traced_generator,
    held_by_a_traced_generator_that_has_ended,
]

Hold = Callable[[], None]


def plain(given: Payload, hold: Hold, fails: bool) -> Payload:
    hold()
    if fails:
        raise ValueError
    return Payload()


async def coroutine(given: Payload, hold: Hold, fails: bool) -> Payload:
    await pause()
    return plain(given, hold, fails)


def generator(given: Payload, hold: Hold, fails: bool) -> Iterator[Payload]:
    yield Payload()
    yield plain(given, hold, fails)


async def async_generator(given: Payload, hold: Hold, fails: bool) -> AsyncIterator[Payload]:
    yield Payload()
    await pause()
    yield plain(given, hold, fails)


def returns_generator(given: Payload, hold: Hold, fails: bool) -> Iterator[Payload]:
    return generator(given, hold, fails)


async def called(fn: Any, hold: Hold, fails: bool) -> None:
    """Call, take all that comes, and keep nothing."""
    with contextlib.suppress(ValueError):
        result = fn(Payload(), hold, fails)
        if fn.__name__ == "coroutine":
            await result
        elif fn.__name__ == "async_generator":
            async for _ in result:
                pass
        elif fn.__name__ != "plain":
            list(result)


def check_gone(watching: Watching) -> None:
    assert watching.started
    for reference in watching.started:
        if not is_gone(reference):
            live = reference()
            holders = [one for one in gc.get_referrers(live) if not isinstance(one, FrameType)]
            raise AssertionError(f"{live!r} is held by {holders!r}, held by {gc.get_referrers(*holders)!r}")
    assert not [one for one in gc.get_objects() if type(one) is Payload]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("reduces", [False, True])
@pytest.mark.parametrize("hold", HOLDERS)
@pytest.mark.parametrize("fn", [plain, coroutine, generator, async_generator, returns_generator])
def test_what_a_run_has_started_leads_to_none_of_its_payload(
    watching: Watching, fn: Any, hold: Callable[[], Any], reduces: bool, fails: bool
) -> None:
    held: List[Tuple[Any, Callable[[], object]]] = []
    # Runs of its own that the holder has open are not the ones to be gone.
    seen: List[int] = []

    def keep() -> None:
        seen.append(len(watching.started))
        held.append(hold())
        del watching.started[seen[0] :]

    traced = clew.traceable(reduce_fn=len if reduces else None)(fn)
    try:
        in_empty_context(run_by_hand, lambda: called(traced, keep, fails))
        check_gone(watching)
        assert len(watching.started) == 1
    finally:
        for _, release in held:
            release()
    assert held


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ASYNCIO)
@pytest.mark.parametrize("fn", [plain, coroutine, async_generator])
def test_tasks_and_timers_of_asyncio_lead_to_no_payload(watching: Watching, fn: Any, name: str) -> None:
    async def main() -> None:
        event, handles = asyncio.Event(), []

        def keep() -> None:
            handles.append(asyncio.ensure_future(event.wait()))
            handles.append(asyncio.get_running_loop().call_later(DEADLINE, nothing))  # type: ignore[arg-type]

        await called(clew.traceable(fn), keep, False)
        await pause()
        check_gone(watching)
        event.set()
        await handles[0]
        handles[1].cancel()

    in_empty_context(ASYNCIO[name], main)
    assert watching.ended == [(fn.__name__, "success")]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fn", [plain, coroutine, async_generator])
def test_tasks_of_trio_lead_to_no_payload(watching: Watching, fn: Any) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await called(clew.traceable(fn), lambda: nursery.start_soon(trio.sleep_forever), False)
            await pause()
            check_gone(watching)
            nursery.cancel_scope.cancel()

    in_empty_context(run_on_trio, main)
    assert watching.ended == [(fn.__name__, "success")]


def made_by(call: Callable[[int], object], count: int, watching: Watching) -> int:
    """Return how many runs and identities there are more after so many calls in an open root."""
    with clew.trace("root"):
        call(0)
        watching.started.clear()
        before = existing()
        for number in range(count):
            call(number)
            watching.started.clear()
        return existing() - before


def existing() -> int:
    gc.collect()
    return sum(type(one) in (clew.RunTree, Identity, Payload) for one in gc.get_objects())


def test_open_root_keeps_nothing_of_a_hundred_thousand_finished_children(watching: Watching) -> None:
    child = clew.traceable(lambda given: Payload())
    assert made_by(lambda _: child(Payload()), 100_000, watching) == 0
    assert len(watching.ended) == 100_002


def test_open_root_keeps_nothing_of_finished_streams(watching: Watching) -> None:
    traced, traced_async = clew.traceable(generator), clew.traceable(async_generator)

    def call(number: int) -> None:
        for _ in traced(Payload(), nothing, fails=False):
            if number % 2:
                break
        finish(called(traced_async, nothing, fails=False))

    assert made_by(call, 2000, watching) == 0
    statuses = [status for _, status in watching.ended]
    assert (statuses.count("success"), statuses.count("cancelled")) == (1 + 2001 + 1001, 1000)


def test_open_stream_keeps_nothing_of_its_finished_children(watching: Watching) -> None:
    @clew.traceable
    def child(given: Payload) -> Payload:
        return given

    @clew.traceable
    def root() -> Iterator[None]:
        while True:
            child(Payload())
            watching.started.clear()
            yield

    stream: Any = root()
    next(stream)
    before = existing()
    for _ in range(1000):
        next(stream)
    assert existing() == before
    stream.close()
