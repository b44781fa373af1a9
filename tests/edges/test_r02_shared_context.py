"""
A task in a context of one's choice: shared or a copy, or that of whoever opened the nursery (R02).

What else becomes of such a task is in `tests/tasks`.
"""

from __future__ import annotations

import contextvars
from contextvars import Context
from typing import Any, List

import anyio
import anyio.lowlevel
import pytest
import trio

import clew
from clew.tasks.trio import open_nursery
from tests.edges._generators import as_user, current_name
from tests.edges._groups import (
    STARTS,
    Kind,
    Start,
    anyio_kinds,
    by_start,
    by_start_soon,
    is_value_gone_with_its_task,
    kinds,
    needs_handles,
    run_on_trio,
    starts,
)
from tests.edges._threads import in_empty_context, user


@kinds
@pytest.mark.parametrize("start", STARTS.values(), ids=STARTS)
def test_bare_group_has_no_such_option(kind: Kind, start: Start) -> None:
    async def main() -> None:
        async with kind.bare() as group:
            with pytest.raises(TypeError, match="unexpected keyword argument 'context'"):
                await start(group, int, context=Context())

    kind.run(main)


@needs_handles
@anyio_kinds
def test_bare_create_task_copies_the_context_that_it_is_given(kind: Kind) -> None:
    async def body() -> None:
        found.append(user.get())
        user.set("grace")

    async def main() -> None:
        async with kind.bare() as group:
            group.create_task(body(), context=context)

    found: List[object] = []
    context = as_user("ada")
    in_empty_context(kind.run, main)
    assert (found, context[user]) == (["ada"], "ada")


@starts
def test_change_in_a_task_is_seen_in_its_context_and_nowhere_else(kind: Kind, start: Start) -> None:
    def change() -> None:
        found.append(user.get())
        user.set("grace")

    async def main() -> object:
        user.set("main")
        async with kind.clew() as group:
            await start(group, change, context=context)
        return user.get(), context[user]

    found: List[object] = []
    context = as_user("ada")
    assert in_empty_context(kind.run, main) == ("main", "grace")
    assert found == ["ada"]


@kinds
def test_tasks_that_share_a_context_see_each_others_changes(kind: Kind) -> None:
    async def first() -> None:
        user.set("from the first")
        is_set.set()
        await is_answered.wait()
        found.append(user.get())

    async def second(*, task_status: Any) -> None:
        task_status.started()
        await is_set.wait()
        found.append(user.get())
        user.set("from the second")
        is_answered.set()

    async def main() -> None:
        nonlocal is_set, is_answered
        is_set, is_answered = anyio.Event(), anyio.Event()
        async with kind.clew() as group:
            await group.start(second, context=context)
            group.start_soon(first, context=context)
        found.append(context.run(user.get))

    is_set: Any = None
    is_answered: Any = None
    found: List[object] = []
    context = Context()
    in_empty_context(kind.run, main)
    assert found == ["from the first", "from the second", "from the second"]


@starts
def test_token_of_the_context_is_reset_in_a_task_of_it(kind: Kind, start: Start) -> None:
    async def main() -> None:
        async with kind.clew() as group:
            await start(group, lambda: user.reset(token), context=context)

    context = as_user("ada")
    token = context.run(user.set, "grace")
    kind.run(main)
    assert context[user] == "ada"


@starts
def test_what_such_a_task_starts_has_a_copy_of_its_values(kind: Kind, start: Start) -> None:
    async def grandchild() -> None:
        found.append(user.get())
        user.set("grandchild")

    async def main() -> None:
        async with kind.clew() as group:
            await start(group, lambda: group.start_soon(grandchild), context=context)

    found: List[object] = []
    context = as_user("ada")
    kind.run(main)
    assert (found, context[user]) == (["ada"], "ada")


@starts
@pytest.mark.parametrize("is_captured_elsewhere", [False, True])
def test_snapshot_is_copied_for_each_task(kind: Kind, start: Start, is_captured_elsewhere: bool) -> None:
    def visit() -> None:
        found.append(user.get())
        user.set("changed")

    async def main() -> object:
        user.set("main")
        snapshot = elsewhere if is_captured_elsewhere else as_user("ada").run(clew.capture)
        async with kind.clew() as group:
            for _ in range(2):
                await start(group, visit, context=snapshot)
        return user.get(), snapshot.run(user.get)

    found: List[object] = []
    elsewhere = as_user("ada").run(clew.capture)
    assert in_empty_context(kind.run, main) == ("main", "ada")
    assert found == ["ada", "ada"]


@starts
def test_runs_of_a_task_nest_in_the_run_of_its_context(kind: Kind, start: Start) -> None:
    def step() -> None:
        with clew.trace("step"), clew.trace("inner"):
            found.append(current_name())

    async def main() -> object:
        with clew.trace("other"):
            context = contextvars.copy_context()
        async with kind.clew() as group:
            with clew.trace("request"):
                await start(group, step, context=context)
                await start(group, step, context=Context())
                await start(group, step, context=clew.capture())
                return current_name()

    found: List[object] = []
    with clew.record() as runs:
        assert in_empty_context(kind.run, main) == "request"
    assert found == ["inner"] * 3
    runs.assert_tree(
        """
        other
          step
            inner
        request
          step
            inner
        step
          inner
        """
    )


@pytest.mark.parametrize("start", [by_start_soon, by_start])
def test_nursery_of_the_opener_starts_its_tasks_with_the_values_of_its_entry(start: Start) -> None:
    def visit() -> None:
        found.append(user.get())
        user.set("changed")

    async def main(open_it: Any) -> object:
        user.set("opener")
        manager = open_it()
        user.set("at the entry")
        async with manager as nursery:
            user.set("spawner")
            for _ in range(2):
                await start(nursery, visit)
            await anyio.wait_all_tasks_blocked()
        return user.get()

    def of(open_it: Any) -> List[object]:
        found.clear()
        assert in_empty_context(run_on_trio, lambda: main(open_it)) == "spawner"
        return list(found)

    found: List[object] = []
    assert of(trio.open_nursery) == ["spawner"] * 2
    assert of(lambda: open_nursery(inherit_from="spawner")) == ["spawner"] * 2
    assert of(lambda: open_nursery(inherit_from="opener")) == ["at the entry"] * 2


@pytest.mark.parametrize("start", [by_start_soon, by_start])
def test_nursery_of_the_opener_takes_a_context_too(start: Start) -> None:
    async def main() -> None:
        user.set("opener")
        async with open_nursery(inherit_from="opener") as nursery:
            user.set("spawner")
            await start(nursery, lambda: user.set("changed"), context=context)

    context = as_user("ada")
    in_empty_context(run_on_trio, main)
    assert context[user] == "changed"


def test_worker_of_a_nursery_of_the_opener_is_in_no_request() -> None:
    async def worker() -> None:
        await trio.lowlevel.checkpoint()
        with clew.trace("job"):
            pass

    async def main(open_it: Any) -> None:
        async with open_it() as nursery:
            with clew.trace("request"):
                nursery.start_soon(worker)

    with clew.record() as runs:
        in_empty_context(run_on_trio, lambda: main(trio.open_nursery))
        in_empty_context(run_on_trio, lambda: main(lambda: open_nursery(inherit_from="opener")))
    runs.assert_tree(
        """
        request
          job
        request
        job
        """
    )


@starts
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_shared", [True, False])
def test_value_of_a_context_is_gone_with_the_task_in_an_open_group(kind: Kind, start: Start, is_shared: bool) -> None:
    def start_in_it(group: Any, fn: Any) -> Any:
        return start(group, fn, context=Context() if is_shared else clew.capture())

    assert is_value_gone_with_its_task(kind.run, kind.clew, start_in_it)
