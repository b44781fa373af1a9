"""
Every edge between threads, and into a task of an event loop: one way over it that is bare, and one with clew.
"""

from __future__ import annotations

import asyncio
import sys
from multiprocessing.pool import ThreadPool
from threading import Thread, Timer
from typing import Any, Awaitable, Callable, NamedTuple

import pytest
import trio

import clew
from clew.executors.multiprocessing_pool import ContextThreadPool
from tests.edges._threads import BARE, DEADLINE, in_empty_context
from tests.foreign._ways import (
    OneThread,
    Step,
    Way,
    attach_snapshot,
    bound,
    callback,
    installed,
    map_,
    own_run,
    pool_apply,
    pool_callback,
    pool_map,
    queued,
    run_in_snapshot,
    submit,
    take,
    target,
    timer,
    with_snapshot,
    wrapped,
)

THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", 0))

# An event loop that was started elsewhere; the step is open across a suspension.


async def take_async(step: Step, checkpoint: Callable[[], Awaitable[object]]) -> None:
    with step():
        await checkpoint()
    await checkpoint()


def in_asyncio(arrange: Callable[..., Any]) -> Way:
    def way(step: Step) -> None:
        job = arrange(step, lambda: asyncio.sleep(0))

        async def main() -> None:
            await asyncio.wait_for(job(), DEADLINE)

        in_empty_context(asyncio.run, main())

    return way


def in_trio(arrange: Callable[..., Any]) -> Way:
    def way(step: Step) -> None:
        job = arrange(step, trio.lowlevel.checkpoint)

        async def main() -> None:
            with trio.fail_after(DEADLINE):
                await job()

        in_empty_context(trio.run, main)

    return way


def unarranged(step: Step, checkpoint: Any) -> Any:
    return lambda: take_async(step, checkpoint)


def stepped(step: Step, checkpoint: Any) -> Any:
    snapshot = clew.capture()
    return lambda: clew.wrap_coroutine(take_async(step, checkpoint), snapshot)


def bound_function(step: Step, checkpoint: Any) -> Any:
    function = clew.bind(take_async)
    return lambda: function(step, checkpoint)


class Edge(NamedTuple):
    name: str
    bare: Way
    whole: Way
    # Whether the bare one is whole, too, where threads inherit.
    inherits: bool = False


POOL = clew.ContextThreadPoolExecutor
plain_queue = queued(lambda step: lambda: take(step), lambda job: job())

_EDGES = [
    Edge("T01-submit", submit(BARE), submit(POOL)),
    Edge("T02-map", map_(BARE), map_(POOL)),
    Edge("T04-callback", callback(BARE), callback(POOL)),
    Edge("T06-thread", target(Thread), target(clew.ContextThread), inherits=True),
    Edge("T07-thread-with-run", own_run(Thread), own_run(clew.ContextThread), inherits=True),
    Edge("T08-timer", timer(Timer), timer(clew.ContextTimer), inherits=True),
    Edge("T09-pool-apply", pool_apply(ThreadPool), pool_apply(ContextThreadPool)),
    Edge("T09-pool-map", pool_map(ThreadPool), pool_map(ContextThreadPool)),
    Edge("T09-pool-callback", pool_callback(ThreadPool), pool_callback(ContextThreadPool)),
    Edge("T10-queue-run", plain_queue, queued(with_snapshot, run_in_snapshot)),
    Edge("T10-queue-attached", plain_queue, queued(with_snapshot, attach_snapshot)),
    Edge("T10-queue-bind", plain_queue, queued(bound, lambda job: job())),
    Edge("T11-submit", submit(OneThread), submit(wrapped)),
    Edge("T11-map", map_(OneThread), map_(wrapped)),
    Edge("T11-callback", callback(OneThread), callback(wrapped)),
    Edge("T12-submit", submit(BARE), installed(submit(BARE))),
    Edge("T12-map", map_(BARE), installed(map_(BARE))),
    Edge("T12-callback", callback(BARE), installed(callback(BARE))),
    Edge("T12-thread", target(Thread), installed(target(Thread)), inherits=True),
    Edge("T12-thread-with-run", own_run(Thread), installed(own_run(Thread)), inherits=True),
    Edge("T12-timer", timer(Timer), installed(timer(Timer)), inherits=True),
    Edge("T12-pool-apply", pool_apply(ThreadPool), installed(pool_apply(ThreadPool))),
    Edge("T12-pool-map", pool_map(ThreadPool), installed(pool_map(ThreadPool))),
    Edge("T12-pool-callback", pool_callback(ThreadPool), installed(pool_callback(ThreadPool))),
    Edge("asyncio-wrap_coroutine", in_asyncio(unarranged), in_asyncio(stepped)),
    Edge("asyncio-bind", in_asyncio(unarranged), in_asyncio(bound_function)),
    Edge("trio-wrap_coroutine", in_trio(unarranged), in_trio(stepped)),
    Edge("trio-bind", in_trio(unarranged), in_trio(bound_function)),
]
EDGES = [pytest.param(edge, id=edge.name) for edge in _EDGES]
