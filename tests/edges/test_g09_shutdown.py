"""
Async generators that are still suspended when their event loop shuts down, or closed by another task (G09).
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Callable, List

import pytest

import clew
from tests.context._loops import Main
from tests.edges._generators import (
    Keep,
    Watched,
    bare,
    complaints,
    current_name,
    end,
    in_task,
    keeps,
    keeps_runs,
    listen,
    on_asyncio,
    on_every_loop,
    resets,
    settle_loop,
    take,
)
from tests.edges._threads import in_empty_context, user

Run = Callable[[Main], Any]


def suspended_at_shutdown(run: Run, keep: Keep) -> Any:
    """Return what the body sees in its `finally`, what is seen after all, and what was complained of."""

    async def main() -> None:
        listen(found)
        await take(generators[0])

    seen: List[object] = []

    def scenario() -> object:
        generators.append(keep(resets)(seen))
        run(main)
        return user.get()

    generators: List[Any] = []
    with complaints() as found:
        after = in_empty_context(scenario)
    with pytest.raises(StopAsyncIteration):
        generators[0].__anext__().send(None)
    return seen, after, found


@on_every_loop
def test_bare_generator_cannot_reset_at_shutdown(run: Run) -> None:
    seen, _, found = suspended_at_shutdown(run, bare)
    assert seen == ["nobody"]
    assert len(found) == 1
    assert "was created in a different Context" in found[0]


@keeps
@on_every_loop
def test_generator_is_closed_at_shutdown_in_its_own_context(keep: Keep, run: Run) -> None:
    assert suspended_at_shutdown(run, keep) == (["body", "nobody"], "nobody", [])


@keeps
@on_asyncio
def test_generator_is_closed_by_whoever_asks_for_a_shutdown(keep: Keep, run: Run) -> None:
    async def main() -> List[object]:
        seen: List[object] = []
        generator = keep(resets)(seen)
        await take(generator)
        user.set("ada")
        await in_task(asyncio.get_running_loop().shutdown_asyncgens())
        with pytest.raises(StopAsyncIteration):
            await take(generator)
        return [*seen[:1], user.get()]

    # That nobody starts another one afterwards is what the loop warns of; `aclose` was not the first step here.
    assert in_empty_context(run, main) == ["body", "ada"]


async def traced() -> AsyncIterator[None]:
    async with clew.trace("body"):
        while True:
            yield


@keeps_runs
@on_every_loop
def test_run_of_a_generator_that_a_shutdown_closes_nests_and_ends(keep: Keep, run: Run) -> None:
    async def main() -> None:
        with clew.trace("request"):
            generators.append(keep(traced)())
            await take(generators[0])

    before = clew.stats()
    generators: List[Any] = []
    with clew.record() as runs:
        in_empty_context(run, main)
    runs.assert_tree("request\n  body [cancelled]")
    assert clew.stats() == before


# `aclose` in another task


async def closed_by_a_task(keep: Keep) -> List[object]:
    """Return what the body sees in its `finally`, and then its consumer and whoever has closed it."""

    async def close() -> object:
        await generator.aclose()
        return user.get()

    seen: List[object] = []
    generator = keep(resets)(seen)
    await take(generator)
    closer_sees = await in_task(close())
    return [*seen, user.get(), closer_sees]


@on_every_loop
def test_bare_generator_closed_by_another_task_cannot_reset(run: Run) -> None:
    with pytest.raises(ValueError, match="was created in a different Context"):
        in_empty_context(run, lambda: closed_by_a_task(bare))


@keeps
@on_every_loop
def test_generator_closed_by_another_task_resets(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: closed_by_a_task(keep)) == ["body", *["nobody"] * 3]


async def run_after_a_task_has_closed(keep: Keep) -> object:
    with clew.record():
        generator = keep(traced)()
        await take(generator)
        await in_task(end(generator))
        return current_name()


@keeps_runs
@on_every_loop
def test_ended_run_stays_current_bare_and_does_not_with_clew(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: run_after_a_task_has_closed(bare)) == "body"
    before = clew.stats()
    assert in_empty_context(run, lambda: run_after_a_task_has_closed(keep)) is None
    assert clew.stats() == before


@keeps
@on_every_loop
@pytest.mark.usefixtures("no_collector")
def test_value_is_gone_after_the_shutdown(keep: Keep, run: Run) -> None:
    async def holds() -> AsyncIterator[None]:
        user.set(watched.make())
        yield

    async def main() -> None:
        await take(generators[0])
        await settle_loop()

    def scenario() -> None:
        generators.append(keep(holds)())
        run(main)

    watched = Watched()
    generators: List[Any] = []
    in_empty_context(scenario)
    assert watched.is_gone()
