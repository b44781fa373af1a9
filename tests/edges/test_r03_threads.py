"""
Threads of anyio and trio, there and back, from a task in its spawner's context or in one of its own (R03).

Right as it is, and it must stay so; with ``context=``, too.
"""

from __future__ import annotations

import contextvars
from typing import Any, Callable, Dict, List, Tuple

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest
import trio

import clew
from tests.edges._generators import as_user, current_name
from tests.edges._groups import KINDS, Kind, bare_or_clew, kinds
from tests.edges._threads import in_empty_context, reset_inside, user


async def look() -> object:
    """Return the user that is seen by a coroutine, before and after a step."""
    before = reset_inside()
    await anyio.lowlevel.checkpoint()
    return before, reset_inside()


async def in_anyio_thread() -> object:
    return await anyio.to_thread.run_sync(reset_inside)


async def back_from_anyio_thread() -> object:
    return await anyio.to_thread.run_sync(anyio.from_thread.run, look)


async def called_from_anyio_thread() -> object:
    return await anyio.to_thread.run_sync(anyio.from_thread.run_sync, reset_inside)


async def by_portal() -> object:
    async with anyio.from_thread.BlockingPortal() as portal:
        called = await anyio.to_thread.run_sync(portal.call, look)
        return called, await anyio.to_thread.run_sync(lambda: portal.start_task_soon(look).result(30))


async def in_trio_thread() -> object:
    return await trio.to_thread.run_sync(reset_inside)


async def back_from_trio_thread() -> object:
    return await trio.to_thread.run_sync(trio.from_thread.run, look)


async def called_from_trio_thread() -> object:
    return await trio.to_thread.run_sync(trio.from_thread.run_sync, reset_inside)


# The ways through a thread; each returns what was seen there, in pairs where a coroutine has looked.
Way = Callable[[], Any]
OF_ANYIO: Tuple[Way, ...] = (in_anyio_thread, back_from_anyio_thread, called_from_anyio_thread, by_portal)
OF_TRIO: Tuple[Way, ...] = (in_trio_thread, back_from_trio_thread, called_from_trio_thread)
WAYS: Dict[str, Tuple[Kind, Way]] = {
    f"{of}, {way.__name__}": (kind, way)
    for of, kind in KINDS.items()
    for way in (*OF_ANYIO, *(OF_TRIO if of.endswith("trio") else ()))
}
ways = pytest.mark.parametrize(("kind", "way"), WAYS.values(), ids=WAYS)


def flat(found: Any) -> List[Any]:
    return [each for part in found for each in flat(part)] if isinstance(found, (tuple, list)) else [found]


@ways
@bare_or_clew
def test_thread_has_the_values_of_the_task(kind: Kind, way: Way, of: str) -> None:
    async def child() -> None:
        user.set("child")
        found.append(await way())
        found.append(user.get())

    async def main() -> None:
        user.set("ada")
        async with getattr(kind, of)() as group:
            group.start_soon(child)

    found: List[object] = []
    in_empty_context(kind.run, main)
    assert set(flat(found)) == {"child"}


@ways
@pytest.mark.parametrize("is_shared", [True, False])
def test_thread_has_the_values_of_the_tasks_context(kind: Kind, way: Way, is_shared: bool) -> None:
    async def child() -> None:
        # At the first step, and at a later one.
        found.append(await way())
        user.set("grace")
        found.append(await way())
        found.append(user.get())
        user.set("after the threads")

    async def main() -> None:
        user.set("main")
        async with kind.clew() as group:
            group.start_soon(child, context=context if is_shared else context.run(clew.capture))

    found: List[object] = []
    context = as_user("ada")
    in_empty_context(kind.run, main)
    assert set(flat(found[0])) == {"ada"}
    assert set(flat(found[1:])) == {"grace"}
    assert context[user] == ("after the threads" if is_shared else "ada")


def from_a_thread(kind: Kind, fn: Callable[[], Any]) -> Any:
    return (trio if kind is KINDS["trio"] else anyio).from_thread.run(fn)


@kinds
def test_nothing_comes_back_from_a_thread_into_the_tasks_context(kind: Kind) -> None:
    async def change_there() -> None:
        user.set("from the coroutine")
        await anyio.lowlevel.checkpoint()

    def change() -> None:
        user.set("from the thread")
        from_a_thread(kind, change_there)

    async def child() -> None:
        await anyio.to_thread.run_sync(change)
        found.append(user.get())

    async def main() -> None:
        async with kind.clew() as group:
            group.start_soon(child, context=context)

    found: List[object] = []
    context = as_user("ada")
    kind.run(main)
    assert (found, context[user]) == (["ada"], "ada")


@kinds
def test_runs_in_threads_nest_in_the_one_of_the_tasks_context(kind: Kind) -> None:
    async def back() -> None:
        with clew.trace("back in the loop"):
            await anyio.lowlevel.checkpoint()

    def job() -> None:
        with clew.trace("in the thread"):
            from_a_thread(kind, back)

    async def child() -> None:
        with clew.trace("child"):
            await anyio.to_thread.run_sync(job)
            found.append(current_name())

    async def main() -> None:
        with clew.trace("request"):
            context = contextvars.copy_context()
        async with kind.clew() as group:
            group.start_soon(child, context=context)

    found: List[object] = []
    with clew.record() as runs:
        in_empty_context(kind.run, main)
    assert found == ["child"]
    runs.assert_tree(
        """
        request
          child
            in the thread
              back in the loop
        """
    )


@kinds
def test_thread_that_is_left_behind_does_not_keep_the_context_in_use(kind: Kind) -> None:
    async def child() -> None:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await anyio.to_thread.run_sync(user.set, "from the thread")
        found.append(user.get())

    async def main() -> None:
        for _ in range(2):
            async with kind.clew() as group:
                group.start_soon(child, context=context)

    found: List[object] = []
    context = as_user("ada")
    kind.run(main)
    assert found == ["ada", "ada"]
