"""
Chains of jobs without end, each started by the one before: what they keep does not grow with their number.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, List

import pytest

import clew
from clew.exporters.jsonl import read_runs
from clew.runs._tree import hooks
from clew.runs._tree.blocks import ScopeOptions
from clew.runs._tree.identity import Identity
from tests.edges._threads import DEADLINE

SHORT, LONG = 60, 600
# How much more a long chain may hold than a short one: identities are let go of every few levels, and some jobs may
# still be at their end when the last one counts.
SPREAD = 40

value: contextvars.ContextVar[object] = contextvars.ContextVar("value")


class Value:
    """Stand for what a job sets in its context."""


BLOCKS: Dict[str, Callable[[], ContextManager[object]]] = {
    "no block": nullcontext,
    "detached": clew.detached,
    "detached without a link": lambda: clew.detached(link=False),
    "tracing_context": lambda: clew.tracing_context(tags=["job"]),
    "attached": lambda: clew.capture().attached(),
    "baggage": lambda: clew.baggage(tenant="acme"),
    "trace": lambda: clew.trace("block"),
}


def by_timers(job: Callable[[Callable[[], None]], bool]) -> None:
    done = threading.Event()
    started: List[threading.Thread] = []

    def start() -> None:
        timer = clew.ContextTimer(0, tick)
        started.append(timer)
        timer.start()

    def tick() -> None:
        # A job's run ends after the job has started the next one. On a busy machine many would be at their end.
        if len(started) > 1:
            started.pop(0).join(DEADLINE)
        if not job(start):
            done.set()

    tick()
    assert done.wait(DEADLINE)
    for timer in started:
        timer.join(DEADLINE)


def by_call_soon(job: Callable[[Callable[[], None]], bool]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def tick() -> None:
            if not job(lambda: loop.call_soon(tick) and None):
                done.set_result(None)

        loop.call_soon(tick)
        await done

    asyncio.run(main())


def by_tasks(job: Callable[[Callable[[], None]], bool]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done, tasks = loop.create_future(), set()

        async def tick() -> None:
            if not job(start):
                done.set_result(None)

        def start() -> None:
            task = loop.create_task(tick())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        start()
        await done

    asyncio.run(main())


def by_pool(job: Callable[[Callable[[], None]], bool]) -> None:
    done = threading.Event()
    with clew.ContextThreadPoolExecutor(2) as pool:

        def tick() -> None:
            if not job(lambda: pool.submit(tick) and None):
                done.set()

        pool.submit(tick)
        assert done.wait(DEADLINE)


def alive(kinds: Any) -> int:
    gc.collect()
    return sum(isinstance(each, kinds) for each in gc.get_objects())


def held_at_the_end(way: Callable[..., None], block: Callable[[], ContextManager[object]], length: int) -> Any:
    left, found = [length], []

    @clew.traceable
    def job(start: Callable[[], None]) -> bool:
        value.set(Value())
        left[0] -= 1
        if not left[0]:
            found.append((alive((Identity, ScopeOptions)), alive(Value)))
            return False
        with block():
            start()
        return True

    contextvars.Context().run(way, job)
    return found[0]


def ignore(run: object) -> None:
    """Record the run, and keep nothing of it."""


@pytest.mark.parametrize("block", list(BLOCKS.values()), ids=list(BLOCKS))
@pytest.mark.parametrize("way", [by_timers, by_call_soon, by_tasks, by_pool])
@pytest.mark.parametrize("sampler", [None, 0.0], ids=["recorded", "not sampled"])
@pytest.mark.usefixtures("settings_as_they_were")
def test_chain_of_jobs_keeps_no_more_than_a_short_one(way: Any, block: Any, sampler: Any) -> None:
    clew.configure(sampler=sampler)
    hooks.add_start_hook(ignore)
    try:
        short, values = held_at_the_end(way, block, SHORT)
        long, more_values = held_at_the_end(way, block, LONG)
    finally:
        hooks.remove_start_hook(ignore)
    assert long <= short + SPREAD
    assert more_values <= values + SPREAD


@pytest.mark.usefixtures("settings_as_they_were")
def test_chain_of_jobs_is_exported_in_lines_of_bounded_length_and_as_one_trace(tmp_path: Any) -> None:
    path = tmp_path / "runs.jsonl"
    clew.configure(exporter=f"jsonl:{path}")
    try:
        held_at_the_end(by_timers, nullcontext, LONG)
    finally:
        assert clew.shutdown(DEADLINE)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) == LONG
    assert max(map(len, lines)) < 8_000
    (root,) = read_runs(path).roots
    depth, runs = 0, [root]
    while runs:
        depth, runs = depth + 1, [child for run in runs for child in run.children]
    assert depth == LONG


def test_recording_of_a_chain_shows_it_whole(runs: clew.Recording) -> None:
    held_at_the_end(by_timers, nullcontext, 40)
    (root,) = runs.roots
    depth, level = 0, [root]
    while level:
        assert len(level) == 1
        depth, level = depth + 1, list(level[0].children)
    assert depth == 40
