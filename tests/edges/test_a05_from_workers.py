"""
A05: what a worker thread hands back to the loop, by `call_soon_threadsafe` or `run_coroutine_threadsafe`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Callable, List

import pytest

import clew
from clew import ContextThreadPoolExecutor
from clew.tasks.asyncio import run_in_executor
from tests.context._loops import Main
from tests.edges._generators import Watched, on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context, nothing, settle, user

Run = Callable[[Main], Any]
HandBack = Callable[[Any, Callable[[], Any]], Any]


def by_callback(loop: Any, fn: Callable[[], Any]) -> Any:
    """Have the loop call a function, and wait for its result."""

    async def wait() -> Any:
        return await done

    done: Any = loop.create_future()
    loop.call_soon_threadsafe(lambda: done.set_result(fn()))
    return asyncio.run_coroutine_threadsafe(wait(), loop).result(DEADLINE)


def by_coroutine(loop: Any, fn: Callable[[], Any]) -> Any:
    async def call() -> Any:
        await asyncio.sleep(0)
        return fn()

    return asyncio.run_coroutine_threadsafe(call(), loop).result(DEADLINE)


async def submit_bare(pool: Executor, job: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(pool, job)


async def submit(pool: Executor, job: Callable[[], Any]) -> Any:
    return await asyncio.wrap_future(pool.submit(job))


async def submit_by_clew(pool: Executor, job: Callable[[], Any]) -> Any:
    return await run_in_executor(pool, job)


hand_backs = pytest.mark.parametrize("hand_back", [by_callback, by_coroutine])
WHOLE = [
    pytest.param(ContextThreadPoolExecutor, submit, id="submit"),
    pytest.param(ContextThreadPoolExecutor, submit_bare, id="loop.run_in_executor"),
    pytest.param(ThreadPoolExecutor, submit_by_clew, id="run_in_executor"),
]
whole = pytest.mark.parametrize(("pool_class", "hand_over"), WHOLE)


async def seen_in_the_loop(pool: Executor, hand_over: Any, hand_back: HandBack) -> object:
    loop = asyncio.get_running_loop()
    user.set("someone else")
    await hand_over(pool, nothing)  # whoever starts the worker is not who is asked about
    user.set("ada")
    return await hand_over(pool, lambda: hand_back(loop, user.get)), user.get()


@hand_backs
@on_asyncio
def test_what_a_bare_worker_hands_back_has_lost_the_values(run: Run, hand_back: HandBack) -> None:
    with ThreadPoolExecutor(1) as pool:
        in_empty_context(pool.submit, nothing).result(DEADLINE)  # where threads inherit, it inherits nothing
        seen = in_empty_context(run, lambda: seen_in_the_loop(pool, submit_bare, hand_back))
    assert seen == ("nobody", "ada")


@whole
@hand_backs
@on_asyncio
def test_what_a_worker_hands_back_has_the_values_of_who_gave_it_the_job(
    run: Run, hand_back: HandBack, pool_class: Any, hand_over: Any
) -> None:
    with pool_class(1) as pool:
        assert in_empty_context(run, lambda: seen_in_the_loop(pool, hand_over, hand_back)) == ("ada", "ada")


@whole
@hand_backs
@on_asyncio
def test_values_of_the_job_itself_go_with_it_and_none_come_back(
    run: Run, hand_back: HandBack, pool_class: Any, hand_over: Any
) -> None:
    def job(loop: Any) -> List[object]:
        user.set("job")
        seen = [hand_back(loop, user.get)]
        hand_back(loop, lambda: user.set("changed in the loop"))
        return [*seen, user.get()]

    async def main() -> List[object]:
        loop = asyncio.get_running_loop()
        user.set("ada")
        return [*await hand_over(pool, lambda: job(loop)), user.get()]

    with pool_class(1) as pool:
        assert in_empty_context(run, main) == ["job", "job", "ada"]


@hand_backs
@on_asyncio
def test_trace_that_goes_through_a_worker_and_back_is_whole(run: Run, hand_back: HandBack) -> None:
    @clew.traceable
    def job(loop: Any) -> None:
        hand_back(loop, clew.traceable(nothing))

    async def main(pool: Executor, hand_over: Any) -> None:
        loop = asyncio.get_running_loop()
        with clew.trace("request"):
            await hand_over(pool, lambda: job(loop))

    for pool_class, hand_over, expected in (
        (ThreadPoolExecutor, submit_bare, "request\njob\n  nothing"),
        *((*case.values, "request\n  job\n    nothing") for case in WHOLE),
    ):
        with pool_class(1) as pool, clew.record() as runs:
            in_empty_context(pool.submit, nothing).result(DEADLINE)
            in_empty_context(run, lambda: main(pool, hand_over))  # noqa: B023  it is used at once
        runs.assert_tree(expected)


@whole
@hand_backs
@on_asyncio
@pytest.mark.usefixtures("no_collector")
def test_value_is_gone_with_the_request_that_went_through_a_worker(
    run: Run, hand_back: HandBack, pool_class: Any, hand_over: Any
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        user.set(watched.make())
        await hand_over(pool, lambda: hand_back(loop, nothing))

    watched = Watched()
    with pool_class(1) as pool:
        in_empty_context(run, main)
        settle(pool)
        assert watched.is_gone()
