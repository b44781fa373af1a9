"""
A03: a task started in a given context shares it, on every version and under every event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from contextvars import Context, copy_context
from typing import Any, Callable, List, Tuple

import pytest

import clew
from clew.tasks.asyncio import TaskGroup, create_task
from tests.context._loops import ASYNCIO, Main
from tests.edges._generators import Watched, as_user, on_asyncio
from tests.edges._threads import DEADLINE, in_empty_context, reset_inside, user

Run = Callable[[Main], Any]
Start = Callable[..., Any]

IS_NATIVE = sys.version_info >= (3, 11)


def bare(coroutine: Any, **options: Any) -> Any:
    return asyncio.create_task(coroutine, **options)


async def in_group(coroutine: Any, **options: Any) -> Any:
    async with TaskGroup() as group:
        return await group.create_task(coroutine, **options)


starts = pytest.mark.parametrize("start", [create_task, in_group], ids=["create_task", "TaskGroup"])


async def sets(value: object) -> object:
    """Set the user in two steps, and return who it was before."""
    token = user.set("in between")
    await asyncio.sleep(0)
    user.reset(token)
    before = user.get()
    await asyncio.sleep(0)
    user.set(value)
    return before


@on_asyncio
def test_bare_task_cannot_be_started_in_a_context_before_python_3_11(run: Run) -> None:
    async def main() -> object:
        context, coroutine = as_user("ada"), sets("grace")
        try:
            await bare(coroutine, context=context)
        except TypeError:
            coroutine.close()
            return None
        return context[user]

    if IS_NATIVE:
        assert in_empty_context(run, main) == "grace"
    else:
        assert in_empty_context(run, main) is None


@on_asyncio
def test_bare_task_started_from_within_a_context_has_a_copy(run: Run) -> None:
    async def main() -> Tuple[object, object]:
        context = as_user("ada")
        return await context.run(bare, sets("grace")), context[user]

    assert in_empty_context(run, main) == ("ada", "ada")


@starts
@on_asyncio
def test_task_shares_the_context_that_it_is_given(run: Run, start: Start) -> None:
    async def main() -> Tuple[object, ...]:
        user.set("of main")
        context = as_user("ada")
        return await start(sets("grace"), context=context), context[user], user.get()

    assert in_empty_context(run, main) == ("ada", "grace", "of main")


@starts
@on_asyncio
def test_task_has_a_copy_of_what_a_snapshot_holds(run: Run, start: Start) -> None:
    async def main() -> Tuple[object, ...]:
        user.set("of main")
        before = [await start(sets("grace"), context=snapshot) for _ in range(2)]
        return (*before, snapshot.run(user.get), user.get())

    snapshot = as_user("ada").run(clew.capture)
    assert in_empty_context(run, main) == ("ada", "ada", "ada", "of main")


@starts
@on_asyncio
def test_task_without_a_context_has_a_copy_of_its_starters(run: Run, start: Start) -> None:
    async def main() -> Tuple[object, ...]:
        user.set("of main")
        return await start(sets("grace")), user.get()

    assert in_empty_context(run, main) == ("of main", "of main")


@on_asyncio
def test_tasks_that_take_turns_in_one_context_see_what_the_others_do(run: Run) -> None:
    async def adds() -> None:
        for _ in range(5):
            user.set(user.get() + 1)
            await asyncio.sleep(0)

    async def main() -> object:
        context = as_user(0)
        await asyncio.gather(*(create_task(adds(), context=context) for _ in range(3)))
        return context[user]

    assert in_empty_context(run, main) == 15


@pytest.mark.parametrize("name", [name for name in ASYNCIO if name != "eager"])
def test_task_started_in_the_context_of_its_starter_shares_it_with_that_one(name: str) -> None:
    # An eager one begins while its starter is in there: see test_a07_eager_tasks.
    async def parent() -> Tuple[object, ...]:
        child = create_task(sets("of the child"), context=context)
        seen = await child
        between = user.get()
        user.set("of the parent")
        return seen, between, await create_task(sets("again"), context=context), user.get()

    async def main() -> object:
        return await create_task(parent(), context=context)

    context = as_user("ada")
    assert in_empty_context(ASYNCIO[name], main) == ("ada", "of the child", "of the parent", "again")
    assert context[user] == "again"


@on_asyncio
def test_what_is_started_in_the_task_has_its_values(run: Run) -> None:
    async def parent() -> List[object]:
        seen: List[object] = []
        called = asyncio.Event()
        asyncio.get_running_loop().call_soon(lambda: (seen.append(user.get()), called.set()))
        await called.wait()
        user.set("grace")
        seen.append(await create_task(sets("a copy")))
        seen.append(await bare(sets("a copy")))
        seen.append(copy_context()[user])
        return seen

    async def main() -> object:
        return await create_task(parent(), context=as_user("ada"))

    assert in_empty_context(run, main) == ["ada", "grace", "grace", "grace"]


@starts
@on_asyncio
def test_runs_of_the_task_nest_where_the_context_is_from(run: Run, start: Start) -> None:
    async def main() -> None:
        with clew.trace("request"):
            context = copy_context()
        with clew.trace("server"):
            await start(clew.traceable(sets)("grace"), context=context)
            await start(clew.traceable(sets)("grace"), context=context.run(clew.capture))

    with clew.record() as runs:
        in_empty_context(run, main)
    runs.assert_tree("request\n  sets\n  sets\nserver")


@on_asyncio
def test_task_is_the_current_one_and_its_timeouts_work(run: Run) -> None:
    async def waits() -> object:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.sleep(DEADLINE), 0.001)
        return asyncio.current_task()

    async def main() -> bool:
        task = create_task(waits(), context=Context())
        return await task is task

    assert run(main)


@on_asyncio
def test_values_of_accessors_come_with_each_step_and_go_again(run: Run) -> None:
    async def looks() -> List[object]:
        found = [local.tenant]
        local.tenant = "changed in the task"
        await asyncio.sleep(0)
        return [*found, local.tenant]

    async def main() -> List[object]:
        local.tenant = "ada"
        snapshot = clew.capture()
        local.tenant = "of main"
        task = create_task(looks(), context=snapshot)
        await asyncio.sleep(0)
        found = [local.tenant]
        return [*await task, *found, local.tenant]

    local = threading.local()
    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    try:
        assert in_empty_context(run, main) == ["ada", "changed in the task", "of main", "of main"]
    finally:
        unregister()


@on_asyncio
@pytest.mark.parametrize("share", [False, True])
@pytest.mark.parametrize("end", ["returns", "fails", "is cancelled"])
@pytest.mark.usefixtures("no_collector")
def test_value_in_the_context_is_gone_with_it(run: Run, share: bool, end: str) -> None:
    async def body() -> str:
        user.set((user.get(), watched.make()))
        await asyncio.sleep(0)
        if end == "fails":
            raise LookupError
        if end == "is cancelled":
            await asyncio.get_running_loop().create_future()  # a timer would have the context until it is due
        return reset_inside()[0]

    async def main() -> bool:
        context: Any = as_user("ada")
        task = create_task(body(), context=context if share else context.run(clew.capture))
        del context
        for _ in range(2):
            await asyncio.sleep(0)
        if end == "is cancelled":
            task.cancel()
        await asyncio.wait([task])
        assert end in ("is cancelled", "fails") or task.result() == "ada"
        assert end != "fails" or isinstance(task.exception(), LookupError)
        del task
        await asyncio.sleep(0)
        return watched.is_gone()

    watched = Watched()
    assert in_empty_context(run, main)
