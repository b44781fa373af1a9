"""
Async generators that are left by `break` and dropped, and finalised by the event loop (G08).

What only trio's finaliser does is in `test_r06_trio_finaliser`.
"""

from __future__ import annotations

import asyncio
import gc
from typing import Any, AsyncIterator, Callable, List

import pytest
import trio

import clew
from tests.context._loops import ASYNCIO, Main, run_on_trio
from tests.edges._generators import (
    KEEPS,
    Keep,
    Watched,
    bare,
    complaints,
    current_name,
    in_task,
    keeps,
    keeps_runs,
    listen,
    on_every_loop,
    pause,
    resets,
    settle_loop,
    take,
)
from tests.edges._threads import in_empty_context, user

Run = Callable[[Main], Any]


async def awaits_in_finally(seen: List[object]) -> AsyncIterator[None]:
    token = user.set("body")
    try:
        yield
    finally:
        try:
            await pause()
        except trio.Cancelled:  # trio lets nobody wait who is finalised
            seen.append("cancelled")
        seen.append(user.get())
        user.reset(token)
        seen.append(user.get())


async def left_by_break(generator: Any) -> None:
    async for _ in generator:
        break


async def left_by_another_task(generator: Any) -> None:
    await in_task(take(generator))


async def left_by_an_error(generator: Any) -> None:
    try:
        async for _ in generator:
            raise LookupError
    except LookupError:
        pass


leaves = pytest.mark.parametrize("leave", [left_by_break, left_by_another_task, left_by_an_error])


def abandoned(run: Run, keep: Keep, leave: Callable[[Any], Any] = left_by_break, body: Any = resets) -> Any:
    """Return what the body sees in its `finally`, what its consumer sees then, and what was complained of."""

    async def main() -> None:
        listen(found)
        await leave(keep(body)(seen))
        await settle_loop()
        seen.append(user.get())

    seen: List[object] = []
    with complaints() as found:
        in_empty_context(run, main)
    return seen, found


@on_every_loop
def test_bare_generator_that_is_dropped_cannot_reset(run: Run) -> None:
    seen, found = abandoned(run, bare)
    # On asyncio the finaliser has a copy of the context of whoever has dropped it, on trio that of the system.
    assert seen == ["nobody" if run is run_on_trio else "body", "body"]
    assert len(found) == 1
    assert "was created in a different Context" in found[0]


@keeps
@leaves
@on_every_loop
def test_generator_that_is_dropped_resets_and_leaves_nothing(keep: Keep, leave: Any, run: Run) -> None:
    assert abandoned(run, keep, leave) == (["body", "nobody", "nobody"], [])


@keeps
@on_every_loop
def test_generator_that_is_dropped_awaits_in_its_finally_as_far_as_the_loop_lets_it(keep: Keep, run: Run) -> None:
    waits = ["cancelled"] if run is run_on_trio else []
    assert abandoned(run, keep, body=awaits_in_finally) == ([*waits, "body", "nobody", "nobody"], [])


# With `wrap_async_generator`, the given generator is older, and the interpreter may finalise it first.
MADE_FIRST = ("creation", "live", "isolate")


@pytest.mark.parametrize("keep", [KEEPS[name] for name in MADE_FIRST], ids=MADE_FIRST)
@on_every_loop
def test_generator_that_is_dropped_within_a_cycle_resets(keep: Keep, run: Run) -> None:
    async def in_cycle(generator: Any) -> None:
        cycle = [generator]
        cycle.append(cycle)
        await take(generator)
        del cycle, generator
        gc.collect()

    assert abandoned(run, keep, in_cycle) == (["body", "nobody", "nobody"], [])


async def traced() -> AsyncIterator[None]:
    async with clew.trace("body"):
        while True:
            with clew.trace("child"):
                await pause()
            yield


def run_left_behind(run: Run, keep: Keep) -> Any:
    """Return which run is current after the generator was dropped and finalised, and the runs."""

    async def main() -> object:
        with clew.trace("request"):
            await left_by_break(keep(traced)())
            await settle_loop()
            current = current_name()
            with clew.trace("after"):
                pass
            return current

    with clew.record() as runs, complaints():
        current = in_empty_context(run, main)
    return current, runs


@on_every_loop
def test_ended_run_of_a_bare_generator_stays_current(run: Run) -> None:
    current, runs = run_left_behind(run, bare)
    assert current == "body"
    assert [child.name for child in runs.find(name="body").children] == ["child", "after"]


@keeps_runs
@on_every_loop
def test_run_of_a_dropped_generator_ends_and_leaves_the_consumers(keep: Keep, run: Run) -> None:
    before = clew.stats()
    current, runs = run_left_behind(run, keep)
    assert current == "request"
    runs.assert_tree("request\n  body [cancelled]\n    child\n  after")
    assert clew.stats() == before


@keeps
@pytest.mark.parametrize("name", [name for name in ASYNCIO if name != "uvloop"])  # which shows nobody its account
def test_asyncio_strikes_a_dropped_generator_off_its_account(keep: Keep, name: str) -> None:
    async def main() -> None:
        account: Any = asyncio.get_running_loop()._asyncgens  # type: ignore[attr-defined]
        generator = keep(resets)([])
        assert len(account) == 0
        await take(generator)
        assert list(account) == [generator]  # and not what that drives
        del generator
        await settle_loop()
        assert len(account) == 0

    in_empty_context(ASYNCIO[name], main)


@keeps
@on_every_loop
@pytest.mark.usefixtures("no_collector")
def test_value_is_gone_with_a_generator_that_was_dropped(keep: Keep, run: Run) -> None:
    async def holds() -> AsyncIterator[None]:
        token = user.set(watched.make())
        try:
            yield
        finally:
            user.reset(token)

    async def main() -> bool:
        await left_by_break(keep(holds)())
        await settle_loop()
        return watched.is_gone()

    watched = Watched()
    with complaints() as found:
        assert in_empty_context(run, main)
    assert found == []
