"""
`trio.lowlevel.spawn_system_task` (R05).
"""

from __future__ import annotations

import contextvars
from contextvars import Context
from typing import Any, Callable, List

import pytest
import trio
import trio.testing

import clew
from clew.tasks.trio import spawn_system_task
from tests.edges._generators import Watched, as_user
from tests.edges._groups import innermost, run_on_trio
from tests.edges._threads import in_empty_context, reset_inside, user

Spawn = Callable[..., Any]
spawns = pytest.mark.parametrize("spawn", [trio.lowlevel.spawn_system_task, spawn_system_task], ids=["bare", "clew"])
contexts = pytest.mark.parametrize("context", [None, Context()], ids=["without", "with a context"])


def found_in_system_task(spawn: Spawn, **options: Any) -> List[Any]:
    """Return what a system task sees that "ada" starts in a trio that "runner" has started, and who is here then."""

    async def look() -> None:
        found.append(reset_inside())
        await trio.lowlevel.checkpoint()
        found.append(reset_inside())
        # From a thread trio takes the context from the task.
        found.append(await trio.to_thread.run_sync(trio.from_thread.run_sync, reset_inside))
        user.set("changed")

    async def main() -> None:
        user.set("ada")
        spawn(look, **options)
        user.set("later")
        await is_over(lambda: len(found) == 3)
        found.append(user.get())

    async def is_over(condition: Callable[[], bool]) -> None:
        while not condition():
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()

    found: List[Any] = []
    as_user("runner").run(run_on_trio, main)
    return found


def test_bare_task_has_the_values_of_the_run_and_clews_those_of_its_caller() -> None:
    assert found_in_system_task(trio.lowlevel.spawn_system_task) == ["runner"] * 3 + ["later"]
    assert found_in_system_task(spawn_system_task) == ["ada"] * 3 + ["later"]


def test_context_is_shared_as_with_trios_own_and_a_snapshot_is_copied() -> None:
    for spawn in (trio.lowlevel.spawn_system_task, spawn_system_task):
        context = as_user("grace")
        assert found_in_system_task(spawn, context=context) == ["grace"] * 3 + ["later"]
        assert context[user] == "changed"
    snapshot = as_user("grace").run(clew.capture)
    assert found_in_system_task(spawn_system_task, context=snapshot) == ["grace"] * 3 + ["later"]
    assert snapshot.run(user.get) == "grace"


def test_runs_nest_in_the_one_of_the_caller() -> None:
    async def step() -> None:
        await trio.lowlevel.checkpoint()
        with clew.trace("step"):
            pass

    async def main() -> None:
        with clew.trace("other"):
            other = contextvars.copy_context()
        with clew.trace("request"):
            trio.lowlevel.spawn_system_task(step)
            spawn_system_task(step)
            spawn_system_task(step, context=other)
            with clew.detached():
                spawn_system_task(step)
            await trio.testing.wait_all_tasks_blocked()

    with clew.record() as runs:
        in_empty_context(run_on_trio, main)
    runs.assert_tree(
        """
        other
          step
        request
          step
        step
        step
        """
    )


async def body_of_a_task() -> None:
    await trio.sleep_forever()


@spawns
@contexts
def test_task_is_a_system_task_with_its_name(spawn: Spawn, context: Any) -> None:
    async def body(*args: object) -> None:
        found.append((args, trio.lowlevel.currently_ki_protected()))
        await trio.sleep_forever()

    async def main() -> List[Any]:
        tasks = [
            spawn(body_of_a_task, context=context),
            spawn(body, 1, name="named", context=context),
            spawn(body, name=found_in_system_task, context=context),
        ]
        bare = trio.lowlevel.spawn_system_task(trio.sleep_forever)
        assert {task.parent_nursery for task in tasks} == {bare.parent_nursery}
        await trio.testing.wait_all_tasks_blocked()
        return [task.name for task in tasks]

    found: List[Any] = []
    assert run_on_trio(main) == [f"{__name__}.body_of_a_task", "named", f"{__name__}.found_in_system_task"]
    assert sorted(found) == [((), True), ((1,), True)]


@spawns
@contexts
def test_what_a_task_raises_crashes_trio(spawn: Spawn, context: Any) -> None:
    async def fail() -> None:
        raise KeyError("task")

    async def main() -> None:
        spawn(fail, context=context)
        await trio.sleep_forever()

    with pytest.raises(trio.TrioInternalError) as caught:
        run_on_trio(main)
    assert repr(innermost(caught.value.__cause__)) == "KeyError('task')"


@contexts
def test_task_without_trio_is_refused_in_trios_words(context: Any) -> None:
    with pytest.raises(RuntimeError, match="must be called from async context"):
        spawn_system_task(trio.sleep_forever, context=context)


@pytest.mark.parametrize("wrong", [3, {}, "ada"])
def test_what_is_no_context_is_refused(wrong: Any) -> None:
    async def main() -> None:
        with pytest.raises(clew.ClewError, match=r"expected a contextvars.Context or a clew.Snapshot, got") as caught:
            spawn_system_task(trio.sleep_forever, context=wrong)
        assert isinstance(caught.value, TypeError)

    run_on_trio(main)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_shared", [True, False])
def test_nothing_of_a_task_is_alive_after_it(is_shared: bool) -> None:
    async def body() -> None:
        await trio.lowlevel.checkpoint()

    def start(watched: Watched) -> None:
        user.set(watched.make())
        spawn_system_task(body, context=contextvars.copy_context() if is_shared else None)

    async def main() -> bool:
        watched = Watched()
        Context().run(start, watched)
        for _ in range(2):
            await trio.testing.wait_all_tasks_blocked()
        return watched.is_gone()

    assert run_on_trio(main)
