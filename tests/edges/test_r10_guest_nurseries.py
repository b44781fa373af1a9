"""
trio as a guest of asyncio: tasks with contexts in the groups of host and guest, on one thread (R10).

Their async generators are in `test_r10_guest_mode`.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any, Callable, List

import pytest
import sniffio
import trio

import clew
from clew.tasks.anyio import create_task_group
from clew.tasks.asyncio import TaskGroup
from clew.tasks.trio import open_nursery, run_sync_soon, spawn_system_task
from tests.context._loops import Main
from tests.edges._generators import as_user, current_name, on_asyncio, pause
from tests.edges._threads import as_ada, in_empty_context, user
from tests.edges.test_r10_guest_mode import with_guest

Run = Callable[[Main], Any]


class OfAsyncio(TaskGroup):
    """Be started with functions, as the other groups are."""

    def start_soon(self, fn: Any, *args: Any, **options: Any) -> None:
        self.create_task(fn(*args), **options)


on_host = pytest.mark.parametrize("open_host", [OfAsyncio, create_task_group], ids=["asyncio", "anyio"])
on_guest = pytest.mark.parametrize("open_guest", [open_nursery, create_task_group], ids=["trio", "anyio"])


@on_asyncio
@on_host
@on_guest
def test_tasks_of_host_and_guest_are_each_in_their_context(run: Run, open_host: Any, open_guest: Any) -> None:
    async def child(seen: List[object]) -> None:
        for _ in range(3):
            seen.append((sniffio.current_async_library(), user.get()))
            await pause()
        user.set("changed")

    async def parent(open_group: Any, name: str) -> object:
        context = as_user(f"child of {name}")
        user.set(name)
        seen: List[object] = []
        async with open_group() as group:
            group.start_soon(child, seen, context=context)
        return seen, user.get(), context[user]

    found = in_empty_context(
        run, lambda: with_guest(lambda: parent(open_host, "host"), lambda: parent(open_guest, "guest"))
    )
    assert found == (
        ([("asyncio", "child of host")] * 3, "host", "changed"),
        ([("trio", "child of guest")] * 3, "guest", "changed"),
    )


@on_asyncio
@on_host
@on_guest
def test_tasks_of_host_and_guest_share_one_context(run: Run, open_host: Any, open_guest: Any) -> None:
    async def writes() -> None:
        for number in range(3):
            await pause()
            user.set(number)
            # Until the other one has answered.
            while user.get() == number:
                await pause()
            answers.append((sniffio.current_async_library(), user.get()))

    async def answers_it() -> None:
        for number in range(3):
            while user.get() != number:
                await pause()
            user.set(("seen", sniffio.current_async_library(), number))

    async def parent(open_group: Any, body: Any) -> None:
        async with open_group() as group:
            group.start_soon(body, context=shared)

    answers: List[object] = []
    shared = Context()
    run(lambda: with_guest(lambda: parent(open_host, writes), lambda: parent(open_guest, answers_it)))
    assert answers == [("asyncio", ("seen", "trio", number)) for number in range(3)]


@on_asyncio
def test_callback_that_the_host_has_for_the_guest_is_called_in_the_hosts_context(run: Run) -> None:
    async def guest() -> None:
        user.set("guest")
        hand_over.set_result(trio.lowlevel.current_trio_token())
        await is_called.wait()

    async def host() -> None:
        user.set("host")
        token = await hand_over
        token.run_sync_soon(lambda: found.append(user.get()))
        run_sync_soon(lambda: found.append(user.get()), trio_token=token)
        run_sync_soon(is_called.set, trio_token=token)

    async def main() -> None:
        nonlocal hand_over, is_called
        hand_over, is_called = asyncio.get_running_loop().create_future(), trio.Event()
        await with_guest(host, guest)

    hand_over: Any = None
    is_called: Any = None
    found: List[object] = []
    as_ada(lambda: run(main))
    assert found == ["ada", "host"]  # the bare one in the context in which the guest was started


@on_asyncio
def test_system_task_and_nursery_of_the_opener_in_a_guest(run: Run) -> None:
    async def look(way: str) -> None:
        await pause()
        found[way] = user.get()

    async def guest() -> None:
        user.set("opener")
        async with open_nursery(inherit_from="opener") as nursery:
            user.set("spawner")
            nursery.start_soon(look, "opener")
            spawn_system_task(look, "system")
            trio.lowlevel.spawn_system_task(look, "bare system")
            while len(found) < 3:
                await pause()

    found: Any = {}
    as_ada(lambda: run(lambda: with_guest(pause, guest)))
    assert found == {"opener": "opener", "system": "spawner", "bare system": "ada"}


@on_asyncio
def test_thread_of_the_guest_is_in_the_context_of_its_task(run: Run) -> None:
    async def child() -> None:
        found.append(await trio.to_thread.run_sync(trio.from_thread.run_sync, user.get))

    async def guest() -> None:
        async with open_nursery() as nursery:
            nursery.start_soon(child, context=as_user("grace"))

    found: List[object] = []
    as_ada(lambda: run(lambda: with_guest(pause, guest)))
    assert found == ["grace"]


@on_asyncio
@on_host
@on_guest
def test_runs_of_host_and_guest_nest_apart(run: Run, open_host: Any, open_guest: Any) -> None:
    async def child(name: str) -> None:
        for number in range(2):
            await pause()
            with clew.trace(f"{name} {number}"):
                await pause()

    async def parent(open_group: Any, name: str) -> object:
        with clew.trace(name):
            async with open_group() as group:
                group.start_soon(child, f"child of {name}")
                group.start_soon(child, f"copy of {name}", context=clew.capture())
                group.start_soon(child, "elsewhere", context=Context())
            return current_name()

    with clew.record() as runs:
        found = in_empty_context(
            run, lambda: with_guest(lambda: parent(open_host, "host"), lambda: parent(open_guest, "guest"))
        )
    assert found == ("host", "guest")
    runs.assert_tree(
        """
        host
          child of host 0
          child of host 1
          copy of host 0
          copy of host 1
        guest
          child of guest 0
          child of guest 1
          copy of guest 0
          copy of guest 1
        elsewhere 0
        elsewhere 1
        elsewhere 0
        elsewhere 1
        """
    )
