"""
A07: eager tasks, of a loop's factory from 3.12 and of `eager_start=` from 3.14, begin in the context they should.
"""

from __future__ import annotations

import asyncio
import sys
from contextvars import Context, copy_context
from typing import Any, Callable, Dict, List, Tuple

import pytest

import clew
from clew.errors import ContextInUseError
from clew.tasks.asyncio import TaskGroup, create_task
from tests.context._loops import run_on_asyncio
from tests.edges._generators import as_user, complaints
from tests.edges._threads import DEADLINE, in_empty_context, in_use_by_a_thread, user

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="3.12 has eager tasks")

Start = Callable[..., Any]
Scenario = Callable[[Start], Any]


def started(scenario: Scenario, start: Start, **options: object) -> Any:
    """Return what a scenario returns that starts its tasks by `start`, each of them eagerly."""
    is_of_factory = not options

    async def main() -> Any:
        return await scenario(lambda coroutine, **given: start(coroutine, **given, **options))

    return in_empty_context(lambda: run_on_asyncio(main, eager=is_of_factory))


def by_factory(scenario: Scenario, start: Start) -> Any:
    return started(scenario, start)


def by_option(scenario: Scenario, start: Start) -> Any:
    return started(scenario, start, eager_start=True)


WAYS = [
    pytest.param(by_factory, id="factory"),
    pytest.param(
        by_option,
        id="eager_start",
        marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="3.14 has eager_start="),
    ),
]
ways = pytest.mark.parametrize("run", WAYS)


def bare(coroutine: Any, **options: Any) -> Any:
    return asyncio.create_task(coroutine, **options)


async def sets(value: object) -> object:
    before = user.get()
    user.set("in between")
    await asyncio.sleep(0)
    user.set(value)
    return before


async def without_a_context(start: Start) -> Tuple[object, ...]:
    user.set("of main")
    task = start(sets("grace"))
    at_once = user.get()
    return at_once, await task, user.get()


async def in_a_context(start: Start) -> Tuple[object, ...]:
    user.set("of main")
    context = as_user("ada")
    task = start(sets("grace"), context=context)
    at_once = context[user], user.get()
    return (*at_once, await task, context[user], user.get())


async def ends_at_once(start: Start) -> Tuple[object, ...]:
    async def returns() -> object:
        user.set("changed")
        return user.get(), asyncio.current_task() is not main

    async def fails() -> None:
        raise LookupError("lost")

    main = asyncio.current_task()
    context = as_user("ada")
    tasks = [start(returns()), start(returns(), context=context), start(fails()), start(fails(), context=context)]
    states = [task.done() for task in tasks]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    return states, [str(each) for each in results], context[user], asyncio.current_task() is main


async def is_cancelled(start: Start) -> Tuple[object, ...]:
    async def waits() -> None:
        try:
            await asyncio.sleep(DEADLINE)
        finally:
            seen.append(user.get())

    seen: List[object] = []
    tasks = [start(waits()), start(waits(), context=as_user("ada"))]
    states = [(task.cancel(), task.done()) for task in tasks]
    await asyncio.wait(tasks)
    return states, seen, [task.cancelled() for task in tasks]


SCENARIOS: Dict[Scenario, Any] = {
    without_a_context: ("of main", "of main", "of main"),
    in_a_context: ("in between", "of main", "ada", "grace", "of main"),
    ends_at_once: ([True] * 4, ["('changed', True)"] * 2 + ["lost"] * 2, "changed", True),
    is_cancelled: ([(True, False)] * 2, ["nobody", "ada"], [True, True]),
}


@ways
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_eager_task_begins_at_once_in_its_context_as_the_bare_one(run: Any, scenario: Scenario) -> None:
    assert run(scenario, bare) == SCENARIOS[scenario]
    assert run(scenario, create_task) == SCENARIOS[scenario]


@ways
def test_eager_task_begins_with_a_copy_of_what_a_snapshot_holds(run: Any) -> None:
    async def scenario(start: Start) -> Tuple[object, ...]:
        task = start(sets("grace"), context=snapshot)
        return user.get(), await task, snapshot.run(user.get), user.get()

    snapshot = as_user("ada").run(clew.capture)
    assert run(scenario, create_task) == ("nobody", "ada", "ada", "nobody")


@ways
def test_eager_task_of_a_group_begins_at_once_in_its_context(run: Any) -> None:
    async def scenario(start: Start) -> Tuple[object, ...]:
        async with TaskGroup() as group:
            groups.append(group)
            task = start(sets("grace"), context=context)
            at_once = context[user]
        return at_once, task.result(), context[user]

    groups: List[Any] = []
    context = as_user("ada")
    create = lambda coroutine, **options: groups[0].create_task(coroutine, **options)  # noqa: E731
    assert run(scenario, create) == ("in between", "ada", "grace")


@ways
def test_runs_of_an_eager_task_nest_where_it_was_started(run: Any) -> None:
    async def scenario(start: Start) -> None:
        with clew.trace("request"):
            context = copy_context()
            tasks = [start(clew.traceable(sets)("grace"))]
            with clew.trace("at once"):
                pass
        with clew.trace("later"):
            tasks.append(start(clew.traceable(sets)("grace"), context=context))
        await asyncio.wait(tasks)

    with clew.record() as runs:
        run(scenario, create_task)
    runs.assert_tree("request\n  sets\n  at once\n  sets\nlater")


@ways
def test_eager_task_in_the_context_that_is_current_begins_when_its_starter_has_left_it(run: Any) -> None:
    async def scenario(start: Start) -> object:
        async def parent() -> object:
            task = start(sets("grace"), context=context)
            begun_at_once = user.get() != "ada"
            return begun_at_once, await task, user.get()

        context = as_user("ada")
        return await create_task(parent(), context=context)

    assert run(scenario, create_task) == (False, "ada", "grace")


@ways
def test_eager_task_that_begins_later_shows_its_own_coroutine(run: Any) -> None:
    async def scenario(start: Start) -> object:
        async def parent() -> object:
            task = start(sets("grace"), context=context)
            shown = "sets()" in repr(task), [frame.f_code.co_name for frame in task.get_stack()]
            await task
            return shown

        context = as_user("ada")
        return await create_task(parent(), context=context)

    assert run(scenario, create_task) == (True, ["sets"])


@ways
def test_eager_task_that_is_cancelled_before_its_starter_has_left_the_context_begins_never(run: Any) -> None:
    async def scenario(start: Start) -> object:
        async def parent() -> object:
            task = start(sets("grace"), context=context)
            task.cancel()
            await asyncio.wait([task])
            return task.cancelled(), user.get()

        context = as_user("ada")
        return await create_task(parent(), context=context)

    assert run(scenario, create_task) == (True, "ada")


@ways
def test_eager_task_in_a_context_that_another_thread_is_in_is_refused_by_an_error_of_its_own(run: Any) -> None:
    async def scenario(start: Start) -> object:
        context = Context()
        with in_use_by_a_thread(context):
            task = start(sets("grace"), context=context)
        return task.done(), type(task.exception()), user in context

    with complaints() as found:
        assert run(scenario, create_task) == (True, ContextInUseError, False)
    assert found == []
