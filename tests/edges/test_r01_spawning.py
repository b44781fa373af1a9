"""
What a task group starts has the context of whoever starts it (R01): right as it is, and it must stay so.
"""

from __future__ import annotations

from typing import Any, List

import anyio
import anyio.lowlevel
import pytest

import clew
from tests.edges._generators import current_name
from tests.edges._groups import Kind, Start, bare_or_clew, is_value_gone_with_its_task, kinds, starts
from tests.edges._threads import in_empty_context, reset_inside, user


@starts
@bare_or_clew
def test_task_has_the_values_of_its_spawner_and_nothing_comes_back(kind: Kind, start: Start, of: str) -> None:
    def visit() -> None:
        found.append(reset_inside())
        user.set("changed")

    async def main() -> object:
        user.set("ada")
        async with getattr(kind, of)() as group:
            await start(group, visit)
            user.set("grace")
            await start(group, visit)
            user.set("later")
        return user.get()

    found: List[Any] = []
    assert in_empty_context(kind.run, main) == "later"
    assert sorted(found) == ["ada", "grace"]  # trio has the tasks take turns in any order


@starts
@bare_or_clew
def test_task_has_the_values_of_its_spawner_and_not_of_whoever_opened_the_group(
    kind: Kind, start: Start, of: str
) -> None:
    async def spawner(name: str) -> None:
        user.set(name)
        await start(group, lambda: found.append(user.get()))

    async def main() -> None:
        nonlocal group
        user.set("opener")
        async with getattr(kind, of)() as group:
            group.start_soon(spawner, "ada")
            await anyio.lowlevel.checkpoint()
            group.start_soon(spawner, "grace")

    group: Any = None
    found: List[Any] = []
    in_empty_context(kind.run, main)
    assert sorted(found) == ["ada", "grace"]


@starts
@bare_or_clew
def test_runs_of_tasks_nest_under_the_one_of_their_spawner(kind: Kind, start: Start, of: str) -> None:
    def step() -> None:
        with clew.trace("step"), clew.trace("inner"):
            pass

    async def main() -> object:
        with clew.trace("request"):
            async with getattr(kind, of)() as group:
                await start(group, step)
                await start(group, step)
            return current_name()

    with clew.record() as runs:
        assert in_empty_context(kind.run, main) == "request"
    runs.assert_tree(
        """
        request
          step
            inner
          step
            inner
        """
    )


@kinds
@bare_or_clew
def test_worker_started_detached_belongs_to_no_request(kind: Kind, of: str) -> None:
    async def worker() -> None:
        await anyio.lowlevel.checkpoint()
        with clew.trace("job"):
            found.append(user.get())

    async def main() -> None:
        user.set("ada")
        async with getattr(kind, of)() as group:
            with clew.trace("request"):
                group.start_soon(worker)
                with clew.detached():
                    group.start_soon(worker)

    found: List[object] = []
    with clew.record() as runs:
        in_empty_context(kind.run, main)
    assert found == ["ada", "ada"]
    runs.assert_tree(
        """
        request
          job
        job
        """
    )
    request, _, detached = runs
    assert [link.trace_id for link in detached.links] == [request.trace_id]


@starts
@bare_or_clew
@pytest.mark.usefixtures("no_collector")
def test_value_is_gone_with_the_task_in_an_open_group(kind: Kind, start: Start, of: str) -> None:
    assert is_value_gone_with_its_task(kind.run, getattr(kind, of), start)
