"""
One program in the three dialects, asyncio's, anyio's and trio's: the same verbs, the same values, the same tree.
"""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any, Callable, Tuple

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
import trio

import clew
import clew.tasks.anyio
import clew.tasks.asyncio
import clew.tasks.trio
from tests.context._loops import ASYNCIO, Main
from tests.edges._groups import LOOPS, run_on_trio
from tests.edges._threads import in_empty_context

user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")
last: contextvars.ContextVar[str] = contextvars.ContextVar("last", default="nothing")

Found = Tuple[object, ...]


@clew.traceable
def summarise(*names: str) -> str:
    return f"{' and '.join(names)} for {user.get()}"


@clew.traceable(name="request")
async def request_on_asyncio() -> Found:
    @clew.traceable
    async def fetch(name: str) -> None:
        await asyncio.sleep(0)
        last.set(name)

    @clew.traceable
    async def refresh() -> None:
        await asyncio.sleep(0)

    shared = contextvars.copy_context()
    async with clew.tasks.asyncio.TaskGroup() as group:
        group.create_task(fetch("books"))
        group.create_task(fetch("prices"), context=shared)
        with clew.detached():
            group.create_task(refresh())
    summary = await clew.tasks.asyncio.to_thread(summarise, "books", shared[last])
    return last.get(), shared[last], summary


@clew.traceable(name="request")
async def request_on_anyio() -> Found:
    @clew.traceable
    async def fetch(name: str) -> None:
        await anyio.lowlevel.checkpoint()
        last.set(name)

    @clew.traceable
    async def refresh() -> None:
        await anyio.lowlevel.checkpoint()

    shared = contextvars.copy_context()
    async with clew.tasks.anyio.create_task_group() as group:
        group.start_soon(fetch, "books")
        group.start_soon(fetch, "prices", context=shared)
        with clew.detached():
            group.start_soon(refresh)
    summary = await anyio.to_thread.run_sync(summarise, "books", shared[last])
    return last.get(), shared[last], summary


@clew.traceable(name="request")
async def request_on_trio() -> Found:
    @clew.traceable
    async def fetch(name: str) -> None:
        await trio.lowlevel.checkpoint()
        last.set(name)

    @clew.traceable
    async def refresh() -> None:
        await trio.lowlevel.checkpoint()

    shared = contextvars.copy_context()
    async with clew.tasks.trio.open_nursery() as nursery:
        nursery.start_soon(fetch, "books")
        nursery.start_soon(fetch, "prices", context=shared)
        with clew.detached():
            nursery.start_soon(refresh)
    summary = await trio.to_thread.run_sync(summarise, "books", shared[last])
    return last.get(), shared[last], summary


PROGRAMS = {
    **{f"asyncio on {name}": (run, request_on_asyncio) for name, run in ASYNCIO.items()},
    **{f"anyio on {name}": (run, request_on_anyio) for name, run in LOOPS.items()},
    "trio": (run_on_trio, request_on_trio),
}


@pytest.mark.parametrize(("run", "program"), PROGRAMS.values(), ids=PROGRAMS)
def test_program_gives_the_same_values_and_the_same_tree(run: Callable[[Main], Any], program: Main) -> None:
    def scenario() -> Found:
        user.set("ada")
        return run(program)

    with clew.record() as runs:
        assert in_empty_context(scenario) == ("nothing", "prices", "books and prices for ada")
    assert runs.tree().splitlines() == [
        "request",
        "├── fetch",
        "├── fetch",
        "└── summarise",
        "refresh",
    ]
    request, refresh = runs.roots
    assert [link.trace_id for link in refresh.links] == [request.trace_id]
    assert [run.inputs for run in request.children[:2]] != [None, None]
