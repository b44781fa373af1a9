"""
Tasks from their start to their end, in groups of asyncio, anyio and trio, with and without a context.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import copy_context
from itertools import repeat
from time import perf_counter
from typing import Any, Awaitable, Callable, Tuple

import anyio
import trio

import clew.tasks.anyio
import clew.tasks.asyncio
import clew.tasks.trio
from benchmarks._cases import BATCH, Case, Measure, Section

__all__ = ("SECTIONS", "Batch", "bare_group", "clew_group")

Batch = Callable[[int], Awaitable[None]]


async def child() -> None:
    pass


def created(create_task: Callable[..., Any], **options: Any) -> Batch:
    async def batch(tasks: int) -> None:
        for task in [create_task(child(), **options) for _ in repeat(None, tasks)]:
            await task

    return batch


def created_in_context(create_task: Callable[..., Any]) -> Batch:
    async def batch(tasks: int) -> None:
        await created(create_task, context=copy_context())(tasks)

    return batch


def grouped(make_group: Callable[[], Any]) -> Batch:
    async def batch(tasks: int) -> None:
        async with make_group() as group:
            for _ in repeat(None, tasks):
                group.create_task(child())

    return batch


def started(open_group: Callable[[], Any]) -> Batch:
    async def batch(tasks: int) -> None:
        async with open_group() as group:
            for _ in repeat(None, tasks):
                group.start_soon(child)

    return batch


def started_in_context(open_group: Callable[[], Any]) -> Batch:
    async def batch(tasks: int) -> None:
        context = copy_context()
        async with open_group() as group:
            for _ in repeat(None, tasks):
                group.start_soon(child, context=context)

    return batch


def tasks(batch: Batch, backend: str = "asyncio") -> Measure:
    """
    Return a measure whose operation is one task, BATCH of them at once.
    """

    async def measured(loops: int) -> float:
        await batch(BATCH)
        start = perf_counter()
        for _ in repeat(None, loops):
            await batch(BATCH)
        return perf_counter() - start

    def measure(loops: int) -> float:
        return anyio.run(measured, loops, backend=backend)

    return measure


bare_group = grouped(getattr(asyncio, "TaskGroup", clew.tasks.asyncio.TaskGroup))
clew_group = grouped(clew.tasks.asyncio.TaskGroup)

# 3.11+: asyncio has both of these; before, there is nothing to compare with but a task.
in_context: Tuple[Case, ...] = (Case("asyncio.create_task(f())", tasks(created(asyncio.create_task))),)
in_group = in_context
if sys.version_info >= (3, 11):
    in_context = (Case("asyncio.create_task(f(), context=...)", tasks(created_in_context(asyncio.create_task))),)
    in_group = (Case("asyncio.TaskGroup", tasks(bare_group)),)

SECTIONS = (
    Section(
        "a task of asyncio's",
        (
            Case("asyncio.create_task(f())", tasks(created(asyncio.create_task))),
            Case("clew.tasks.asyncio.create_task(f())", tasks(created(clew.tasks.asyncio.create_task)), most_ratio=1.1),
        ),
    ),
    Section(
        "a task of asyncio's in a context",
        (
            *in_context,
            Case(
                "clew.tasks.asyncio.create_task(f(), context=...)",
                tasks(created_in_context(clew.tasks.asyncio.create_task)),
                most_ratio=1.1,
            ),
        ),
    ),
    Section(
        "a task in a group of asyncio's",
        (*in_group, Case("clew.tasks.asyncio.TaskGroup", tasks(clew_group), most_ratio=1.15)),
    ),
    *(
        Section(
            f"a task in a group of anyio's, on {backend}",
            (
                Case("anyio.create_task_group()", tasks(started(anyio.create_task_group), backend)),
                Case(
                    "clew.tasks.anyio.create_task_group()",
                    tasks(started(clew.tasks.anyio.create_task_group), backend),
                    most_ratio=1.15,
                ),
                Case(
                    "clew.tasks.anyio, context=...",
                    tasks(started_in_context(clew.tasks.anyio.create_task_group), backend),
                ),
            ),
        )
        for backend in ("asyncio", "trio")
    ),
    Section(
        "a task in a nursery",
        (
            Case("trio.open_nursery()", tasks(started(trio.open_nursery), "trio")),
            Case(
                "clew.tasks.trio.open_nursery()", tasks(started(clew.tasks.trio.open_nursery), "trio"), most_ratio=1.15
            ),
            Case("clew.tasks.trio, context=...", tasks(started_in_context(clew.tasks.trio.open_nursery), "trio")),
        ),
    ),
)
