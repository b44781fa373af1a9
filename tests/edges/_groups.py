"""
What the task group edges share: anyio's task groups and trio's nurseries, the libraries' own and clew's, on each loop.

What is done in their tasks is written with anyio, which works in all of them.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
import trio

from clew.tasks.anyio import create_task_group
from clew.tasks.trio import open_nursery
from tests.context._loops import ASYNCIO, Main
from tests.edges._generators import Watched
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]


class Kind(NamedTuple):
    """Be a kind of group: the loop that it is on, and how one is opened, the library's own and clew's."""

    run: Run
    bare: Callable[[], Any]
    clew: Callable[[], Any]


def run_on_trio(main: Main) -> Any:
    """Run on trio's own clock: one that jumps when all tasks wait, does so when they wait for threads."""

    async def before_the_deadline() -> Any:
        with trio.fail_after(DEADLINE):
            return await main()

    return trio.run(before_the_deadline)


LOOPS: Dict[str, Run] = {**ASYNCIO, "trio": run_on_trio}
ANYIO: Dict[str, Kind] = {
    f"anyio on {name}": Kind(run, anyio.create_task_group, create_task_group) for name, run in LOOPS.items()
}
KINDS: Dict[str, Kind] = {**ANYIO, "trio": Kind(run_on_trio, trio.open_nursery, open_nursery)}

loops = pytest.mark.parametrize("run", LOOPS.values(), ids=LOOPS)
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
anyio_kinds = pytest.mark.parametrize("kind", ANYIO.values(), ids=ANYIO)
bare_or_clew = pytest.mark.parametrize("of", ["bare", "clew"])

HAS_HANDLES = hasattr(anyio.abc.TaskGroup, "create_task")
needs_handles = pytest.mark.skipif(not HAS_HANDLES, reason="needs anyio 4.14, which is for Python 3.10 and later")


async def by_start_soon(group: Any, fn: Callable[[], Any], **options: Any) -> None:
    async def body() -> None:
        await anyio.lowlevel.checkpoint()
        fn()

    group.start_soon(body, **options)


async def by_start(group: Any, fn: Callable[[], Any], **options: Any) -> None:
    async def body(*, task_status: Any) -> None:
        task_status.started("started")
        await anyio.lowlevel.checkpoint()
        fn()

    assert await group.start(body, **options) == "started"


async def by_create_task(group: Any, fn: Callable[[], Any], **options: Any) -> None:
    async def body() -> None:
        await anyio.lowlevel.checkpoint()
        fn()

    group.create_task(body(), **options)


# How a task is started that calls `fn` at its second step.
Start = Callable[..., Any]
STARTS: Dict[str, Start] = {"start_soon": by_start_soon, "start": by_start}

starts = pytest.mark.parametrize(
    ("kind", "start"),
    [pytest.param(kind, start, id=f"{of}, {by}") for of, kind in KINDS.items() for by, start in STARTS.items()]
    + [pytest.param(kind, by_create_task, id=f"{of}, create_task", marks=needs_handles) for of, kind in ANYIO.items()],
)


def is_value_gone_with_its_task(run: Run, open_group: Callable[[], Any], start: Start) -> bool:
    """Tell whether a value that a task has set is gone when the task has ended, and its group is still open."""

    def hold() -> None:
        user.set(watched.make())

    async def main() -> bool:
        async with open_group() as group:
            await start(group, hold)
            # asyncio's task is let go of by callbacks that come a step after its end.
            await anyio.wait_all_tasks_blocked()
            for _ in range(3):
                await anyio.lowlevel.checkpoint()
            return watched.is_gone()

    watched = Watched()
    return bool(in_empty_context(run, main))


def innermost(error: Any) -> Any:
    """Return the one error that is in a group, or in several around each other."""
    while hasattr(error, "exceptions"):
        [error] = error.exceptions
    return error
