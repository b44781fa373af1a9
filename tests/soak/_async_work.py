"""
The random work of a soak in coroutines, on asyncio and on trio.
"""

from __future__ import annotations

import asyncio
import gc
from contextlib import suppress
from typing import Any, AsyncIterator, Awaitable, Callable, Dict

import trio

import clew
import clew.tasks.anyio
import clew.tasks.asyncio
import clew.tasks.trio
from tests.soak._plan import Here, Work, value
from tests.soak._sync_work import Boom, Cycle, do, only_key, started_by_hand, status_of


async def attempt(awaitable: Awaitable[object]) -> None:
    """Await work that may fail on purpose."""
    with suppress(Boom):
        await awaitable


async def pause(here: Here) -> None:
    if here.loop == "trio":
        await trio.lowlevel.checkpoint()
    else:
        await asyncio.sleep(0)


# What a piece of work is


async def run_children(work: Work, here: Here) -> None:
    here.check(f"before the async work in {work.kind}")
    for child in work.children:
        await reach(child, here)
        here.check(f"after {child.kind} by {child.async_edge}, in async {work.kind}")
    if work.collects:
        gc.collect()
    await pause(here)
    here.check(f"at the end of async {work.kind}")


async def run_with_value(key: object, work: Work, here: Here) -> None:
    token = value.set(key)
    try:
        await run_children(work, here.inside(value=key))
    finally:
        value.reset(token)
    if work.end == "error":
        raise Boom


@clew.traceable(process_inputs=only_key)
async def call(key: object, work: Work, here: Here) -> None:
    await run_with_value(key, work, here)


async def items(key: object, work: Work, here: Here) -> AsyncIterator[int]:
    for child in work.children:
        here.check(f"before a step of async {work.kind}")
        await reach(child, here)
        yield 1
        here.check(f"after a step of async {work.kind}")
        await pause(here)
    if work.end == "error":
        raise Boom
    yield 2
    yield 3


traced_items = clew.traceable(process_inputs=only_key)(items)


@clew.context_generator
async def items_in_context(key: object, work: Work, here: Here) -> AsyncIterator[int]:
    value.set(work)
    async for item in items(key, work, here.inside(value=work)):
        yield item


async def read(stream: Any, work: Work, here: Here) -> None:
    async for _ in stream:
        here.check(f"between the steps of async {work.kind}")
        if work.end in ("break", "close"):
            await stream.aclose()
            break
        if work.end == "drop":
            Cycle(stream)
            break


async def do_block(key: object, work: Work, here: Here) -> None:
    async with clew.trace("block", inputs={"key": key}):
        await run_with_value(key, work, here)


async def do_by_hand(key: object, work: Work, here: Here) -> None:
    with started_by_hand(key, work, here):
        await run_with_value(key, work, here)


async def do_async(work: Work, here: Here) -> None:
    """Do a piece of work in the current context."""
    here.check(f"at async {work.kind}")
    if work.kind == "plain":
        await attempt(run_with_value(work, work, here))
        return
    if work.kind == "context generator":
        await attempt(read(items_in_context(None, work, here), work, here))
        return
    key = here.enter(status_of(work))
    inner = here.inside(key=key, parent_id=None) if here.is_recorded else here
    if work.kind == "call":
        await attempt(call(key, work, inner))
    elif work.kind == "block":
        await attempt(do_block(key, work, inner))
    elif work.kind == "by hand":
        await attempt(do_by_hand(key, work, inner))
    else:
        await attempt(read(traced_items(key, work, inner), work, here))


# How a piece of work is reached


@clew.traceable(process_inputs=only_key)
async def wait_for_ever(key: object, here: Here) -> None:
    here.check("before a cancellation")
    try:
        if here.loop == "trio":
            await trio.sleep_forever()
        else:
            await asyncio.get_running_loop().create_future()
    finally:
        here.check("at a cancellation")


def cancelled(here: Here) -> Any:
    """Return a coroutine that waits to be cancelled."""
    key = here.enter("cancelled")
    return wait_for_ever(key, here.inside(key=key, parent_id=None) if here.is_recorded else here)


async def by_asyncio(edge: str, work: Work, here: Here) -> None:
    if edge == "task":
        await asyncio.get_running_loop().create_task(do_async(work, here))
    elif edge == "task in context":
        await clew.tasks.asyncio.create_task(do_async(work, here), context=clew.capture())
    elif edge == "task group":
        async with clew.tasks.asyncio.TaskGroup() as group:
            group.create_task(do_async(work, here))
    elif edge == "to_thread":
        await clew.tasks.asyncio.to_thread(do, work, here)
    elif edge == "gather":
        await asyncio.gather(do_async(work, here), do_async(work, here))
    elif edge == "call_soon":
        loop = asyncio.get_running_loop()
        is_done = loop.create_future()
        loop.call_soon(lambda: is_done.set_result(do(work, here)))
        await is_done
    else:
        task = asyncio.get_running_loop().create_task(cancelled(here))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])


async def by_trio(edge: str, work: Work, here: Here) -> None:
    inherit: Any = "opener" if edge == "task group" else "spawner"
    if edge == "to_thread":
        await trio.to_thread.run_sync(do, work, here)
        return
    if edge == "call_soon":
        is_done = trio.Event()
        clew.tasks.trio.run_sync_soon(lambda: is_done.set() if do(work, here) is None else None)
        await is_done.wait()
        return
    async with clew.tasks.trio.open_nursery(inherit_from=inherit) as nursery:
        if edge == "cancelled":
            nursery.start_soon(lambda: cancelled(here))
            await pause(here)  # the task begins
            await pause(here)
            nursery.cancel_scope.cancel()
        elif edge == "task in context":
            nursery.start_soon(do_async, work, here, context=clew.capture())
        else:
            for _ in range(2 if edge == "gather" else 1):
                nursery.start_soon(do_async, work, here)


async def by_anyio(work: Work, here: Here) -> None:
    async with clew.tasks.anyio.create_task_group() as group:
        group.start_soon(do_async, work, here)


async def in_detached(work: Work, here: Here) -> None:
    with clew.detached():
        await do_async(work, here.inside(key=None, parent_id=None))


async def in_tracing_context(work: Work, here: Here) -> None:
    with clew.tracing_context(tags=["soak"]):
        await do_async(work, here)


async def in_sync(work: Work, here: Here) -> None:
    do(work, here)


async def wrapped(work: Work, here: Here) -> None:
    await clew.wrap_coroutine(do_async(work, here), clew.capture())


EDGES: Dict[str, Callable[[Work, Here], Awaitable[None]]] = {
    "here": do_async,
    "anyio": by_anyio,
    "detached": in_detached,
    "sync": in_sync,
    "tracing_context": in_tracing_context,
    "wrapped coroutine": wrapped,
}


async def reach(work: Work, here: Here) -> None:
    """Do a piece of work in a place where the context must arrive."""
    edge = work.async_edge
    if edge in EDGES:
        await EDGES[edge](work, here)
    elif here.loop == "trio":
        await by_trio(edge, work, here)
    else:
        await by_asyncio(edge, work, here)
