"""
Ways to start a child in a task of its own, or a call elsewhere: clew's and the bare ones, in each dialect.

Each is opened as a block, gives what starts a child, and ends when the children have.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, AsyncIterator, Callable, Dict, List, Tuple

import anyio
import pytest
import trio

from clew.tasks import anyio as clew_anyio, asyncio as clew_asyncio, trio as clew_trio
from tests.context._loops import ASYNCIO, run_on_asyncio, run_on_trio
from tests.edges._threads import settle

Open = Callable[[], Any]
Start = Callable[..., object]


@contextlib.asynccontextmanager
async def tasks(create_task: Callable[..., Any]) -> AsyncIterator[Start]:
    started: List[Any] = []
    try:
        yield lambda fn, *args, **options: started.append(create_task(fn(*args), **options))
        await asyncio.gather(*started)
    finally:
        for task in started:
            task.cancel()
        await asyncio.gather(*started, return_exceptions=True)


@contextlib.asynccontextmanager
async def asyncio_group() -> AsyncIterator[Start]:
    async with clew_asyncio.TaskGroup() as group:
        yield lambda fn, *args, **options: group.create_task(fn(*args), **options)


@contextlib.asynccontextmanager
async def group(create: Callable[[], Any]) -> AsyncIterator[Start]:
    async with create() as opened:
        yield opened.start_soon


nursery = partial(group, clew_trio.open_nursery)
nursery_of_opener = partial(group, partial(clew_trio.open_nursery, inherit_from="opener"))
bare_nursery = partial(group, trio.open_nursery)

Loops = Dict[str, Callable[[Any], Any]]
ON_TRIO: Loops = {"trio": run_on_trio}


def dialects(*given: Tuple[str, Open, Loops]) -> pytest.MarkDecorator:
    """Return the mark for a test of each of these, on each of its loops."""
    cases = [
        pytest.param(open_group, run, id=f"{name} on {loop}")
        for name, open_group, loops in given
        for loop, run in loops.items()
    ]
    return pytest.mark.parametrize(("open_group", "run"), cases)


groups = dialects(
    ("create_task", partial(tasks, clew_asyncio.create_task), ASYNCIO),
    ("TaskGroup", asyncio_group, ASYNCIO),
    ("anyio", partial(group, clew_anyio.create_task_group), {**ASYNCIO, **ON_TRIO}),
    ("trio", nursery, ON_TRIO),
)
bare_groups = dialects(
    ("create_task", partial(tasks, asyncio.create_task), ASYNCIO),
    ("anyio", partial(group, anyio.create_task_group), {**ASYNCIO, **ON_TRIO}),
    ("trio", bare_nursery, ON_TRIO),
)


# Of a plain function, in a context that is not a task's.


async def to_thread(fn: Callable[[], object]) -> None:
    await clew_asyncio.to_thread(fn)


async def executor(fn: Callable[[], object]) -> None:
    await clew_asyncio.run_in_executor(None, fn)


async def pool(fn: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as threads:
        settle(threads)  # the worker is somebody else's: where threads inherit, it inherits nothing of this
        await clew_asyncio.run_in_executor(threads, fn)


async def bare_pool(fn: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as threads:
        settle(threads)
        await asyncio.get_running_loop().run_in_executor(threads, fn)


def soon(run_sync_soon: Callable[[Callable[[], None]], object]) -> Callable[..., Any]:
    async def way(fn: Callable[[], object]) -> None:
        done = trio.Event()

        def call() -> None:
            fn()
            done.set()

        run_sync_soon(call)
        await done.wait()

    return way


def system_task(spawn: Callable[..., Any]) -> Callable[..., Any]:
    async def way(fn: Callable[[], object]) -> None:
        done = trio.Event()

        async def task() -> None:
            await trio.lowlevel.checkpoint()
            fn()
            done.set()

        spawn(task)
        await done.wait()

    return way


CALLS = pytest.mark.parametrize(
    ("call", "run"),
    [
        pytest.param(to_thread, run_on_asyncio, id="to_thread"),
        pytest.param(executor, run_on_asyncio, id="default executor"),
        pytest.param(pool, run_on_asyncio, id="pool"),
        pytest.param(soon(clew_trio.run_sync_soon), run_on_trio, id="run_sync_soon"),
        pytest.param(system_task(clew_trio.spawn_system_task), run_on_trio, id="spawn_system_task"),
    ],
)
BARE_CALLS = pytest.mark.parametrize(
    ("call", "run"),
    [
        pytest.param(bare_pool, run_on_asyncio, id="pool"),
        pytest.param(
            soon(lambda fn: trio.lowlevel.current_trio_token().run_sync_soon(fn)), run_on_trio, id="run_sync_soon"
        ),
        pytest.param(system_task(trio.lowlevel.spawn_system_task), run_on_trio, id="spawn_system_task"),
    ],
)
