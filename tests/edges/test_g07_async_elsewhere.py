"""
Async generators stepped from another task each time (G07), and by `asyncio.wait_for`, which makes one (A09).
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, AsyncIterator, Callable, List

import pytest

import clew
from tests.context._coroutines import finish
from tests.context._loops import Main
from tests.edges._generators import (
    Keep,
    Watched,
    as_user,
    bare,
    current_name,
    end,
    in_task,
    keeps,
    keeps_call,
    keeps_runs,
    on_asyncio,
    on_every_loop,
    pause,
    take,
)
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]
Step = Callable[[Any], Any]


async def resets(seen: List[object]) -> AsyncIterator[object]:
    token = user.set("body")
    try:
        for _ in range(3):
            await pause()
            yield user.get()
    finally:
        await pause()
        seen.append(user.get())
        user.reset(token)
        seen.append(user.get())


async def stepped(keep: Keep, step: Step) -> List[object]:
    """Return what the body sees at each step and at its end, and what its consumer sees then."""
    user.set("ada")
    seen: List[object] = []
    generator = keep(resets)(seen)
    found = [await step(take(generator)) for _ in range(3)]
    with pytest.raises(StopAsyncIteration):
        await step(take(generator))
    return [*found, *seen, user.get()]


async def left_after_two(keep: Keep, step: Step) -> List[object]:
    async def never_resets() -> AsyncIterator[object]:
        user.set("body")
        while True:
            await pause()
            yield user.get()

    generator = keep(never_resets)()
    found = [await step(take(generator)) for _ in range(2)]
    await generator.aclose()
    return found


@on_every_loop
def test_bare_generator_loses_its_value_in_the_second_task_and_cannot_reset(run: Run) -> None:
    assert in_empty_context(run, lambda: left_after_two(bare, in_task)) == ["body", "nobody"]
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(run, lambda: stepped(bare, in_task))


@keeps
@on_every_loop
def test_generator_has_its_values_in_every_task(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: left_after_two(keep, in_task)) == ["body"] * 2
    assert in_empty_context(run, lambda: stepped(keep, in_task)) == [*["body"] * 4, "ada", "ada"]


async def traced() -> AsyncIterator[object]:
    async with clew.trace("body"):
        for number in range(2):
            with clew.trace(f"child {number}"):
                await pause()
            yield current_name()


async def runs_in_tasks(keep: Keep, step: Step) -> Any:
    with clew.record() as runs, clew.trace("request"):
        generator = keep(traced)()
        found = [await step(take(generator)) for _ in range(2)]
        with pytest.raises(StopAsyncIteration):
            await step(take(generator))
        with clew.trace("after"):
            pass
    return found, runs


@on_every_loop
def test_bare_generators_run_is_lost_in_the_second_task(run: Run) -> None:
    found, runs = in_empty_context(run, lambda: runs_in_tasks(bare, in_task))
    assert found == ["body", "request"]
    assert [child.name for child in runs.find(name="body").children] == ["child 0"]


@keeps_runs
@on_every_loop
def test_generators_run_is_whole_in_every_task(keep: Keep, run: Run) -> None:
    before = clew.stats()
    found, runs = in_empty_context(run, lambda: runs_in_tasks(keep, in_task))
    assert found == ["body", "body"]
    runs.assert_tree("request\n  body\n    child 0\n    child 1\n  after")
    assert clew.stats() == before


@keeps
@on_every_loop
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("last", [take, end])
def test_value_is_gone_after_a_generator_that_tasks_have_stepped(keep: Keep, run: Run, last: Step) -> None:
    async def holds() -> AsyncIterator[None]:
        token = user.set(watched.make())
        try:
            await pause()
            yield
        finally:
            user.reset(token)

    async def main() -> None:
        generator = keep(holds)()
        await in_task(take(generator))
        try:
            await in_task(last(generator))
        except StopAsyncIteration:
            assert last is take
        await pause()
        assert watched.is_gone()
        await generator.aclose()

    watched = Watched()
    in_empty_context(run, main)


# by hand


def stepped_by_hand(keep: Keep) -> List[object]:
    """Step in a context of its own each time, also within one item."""
    seen: List[object] = []
    generator = as_user("ada").run(keep(resets), seen)
    found = []
    for number in range(4):
        step = take(generator)
        try:
            while True:
                as_user(number).run(step.send, None)
        except StopIteration as done:
            found.append(done.value)
        except StopAsyncIteration:
            pass
    return [*found, *seen, user.get()]


def test_bare_generator_driven_by_hand_in_many_contexts_cannot_reset() -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(stepped_by_hand, bare)


@keeps_call
def test_generator_driven_by_hand_in_many_contexts_has_its_values(keep: Keep) -> None:
    assert in_empty_context(stepped_by_hand, keep) == [*["body"] * 4, "ada", "nobody"]


def closed_by_hand(keep: Keep) -> List[object]:
    seen: List[object] = []
    generator = as_user("ada").run(keep(resets), seen)
    as_user("first").run(finish, take(generator))
    as_user("second").run(finish, end(generator))
    return seen


@keeps_call
def test_generator_closed_by_hand_in_another_context_resets(keep: Keep) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        closed_by_hand(bare)
    assert closed_by_hand(keep) == ["body", "ada"]


# A09


async def with_time_limit(step: Any) -> Any:
    return await asyncio.wait_for(step, DEADLINE)


@on_asyncio
def test_bare_generator_under_wait_for_loses_its_value_where_that_makes_a_task(run: Run) -> None:
    if sys.version_info < (3, 12):
        assert in_empty_context(run, lambda: left_after_two(bare, with_time_limit)) == ["body", "nobody"]
        with pytest.raises(ValueError, match="was created in a different Context"):
            in_empty_context(run, lambda: stepped(bare, with_time_limit))
    else:
        # There the generator is stepped in its consumer's task, which has what it sets instead.
        assert in_empty_context(run, lambda: left_after_two(bare, with_time_limit)) == ["body", "body"]
        assert in_empty_context(run, lambda: stepped(bare, with_time_limit)) == [*["body"] * 4, "ada", "ada"]


@keeps
@on_asyncio
def test_generator_under_wait_for_has_its_values(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: left_after_two(keep, with_time_limit)) == ["body"] * 2
    assert in_empty_context(run, lambda: stepped(keep, with_time_limit)) == [*["body"] * 4, "ada", "ada"]


@keeps_runs
@on_asyncio
def test_generators_run_is_whole_under_wait_for(keep: Keep, run: Run) -> None:
    found, runs = in_empty_context(run, lambda: runs_in_tasks(keep, with_time_limit))
    assert found == ["body", "body"]
    runs.assert_tree("request\n  body\n    child 0\n    child 1\n  after")


@keeps
@on_asyncio
def test_generator_that_wait_for_has_cancelled_resets(keep: Keep, run: Run) -> None:
    async def hangs() -> AsyncIterator[None]:
        token = user.set("body")
        try:
            yield
            await asyncio.sleep(DEADLINE)
        finally:
            seen.append(user.get())
            user.reset(token)
            seen.append(user.get())

    async def main() -> None:
        generator = keep(hangs)()
        await with_time_limit(generator.__anext__())
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(generator.__anext__(), 0.001)

    seen: List[object] = []
    in_empty_context(run, main)
    assert seen == ["body", "nobody"]
