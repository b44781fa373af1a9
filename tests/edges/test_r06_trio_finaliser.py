"""
Async generators that trio finalises: in a system task, cancelled, and with a word of advice (R06).

What holds on every loop is in `test_g08_abandoned` and `test_g09_shutdown`.
"""

from __future__ import annotations

import re
import warnings
from typing import Any, AsyncIterator, Callable, List

import pytest
import trio

import clew
from tests.context._coroutines import let_finalizers_run
from tests.context._loops import run_on_trio
from tests.edges._generators import Keep, bare, complaints, current_name, keeps, keeps_runs, settle_loop, take
from tests.edges._threads import in_empty_context, user


async def resets(seen: List[object]) -> AsyncIterator[None]:
    token = user.set("body")
    try:
        yield
    finally:
        seen.append(user.get())
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            seen.append("cancelled")
            raise
        finally:
            seen.append(user.get())
            user.reset(token)
            seen.append(user.get())


async def dropped(generator: Any) -> None:
    await take(generator)
    del generator
    await settle_loop()


async def left_in_a_nursery(generator: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take, generator)


async def left_by_cancellation(generator: Any) -> None:
    with trio.CancelScope() as scope:
        async for _ in generator:
            scope.cancel()
            await trio.sleep_forever()


leaves = pytest.mark.parametrize("leave", [dropped, left_in_a_nursery, left_by_cancellation])


def finalised(keep: Keep, leave: Callable[[Any], Any], *, kept: bool) -> Any:
    """Return what the body sees in its `finally`, and what was complained of; kept until trio ends, or not."""

    async def main() -> None:
        generator = keep(resets)(seen)
        if kept:
            generators.append(generator)
        await leave(generator)
        del generator
        await settle_loop()

    seen: List[object] = []
    generators: List[Any] = []
    with complaints() as found:
        in_empty_context(run_on_trio, main)
    return seen, found


@leaves
@pytest.mark.parametrize("kept", [False, True])
def test_bare_generator_has_lost_its_value_when_trio_finalises_it(leave: Callable[[Any], Any], kept: bool) -> None:
    seen, found = finalised(bare, leave, kept=kept)
    assert seen == ["nobody", "cancelled", "nobody"]
    assert len(found) == 1
    assert "was created in a different Context" in found[0]


@keeps
@leaves
@pytest.mark.parametrize("kept", [False, True])
def test_generator_has_its_value_when_trio_finalises_it(keep: Keep, leave: Callable[[Any], Any], kept: bool) -> None:
    assert finalised(keep, leave, kept=kept) == (["body", "cancelled", "body", "nobody"], [])


@keeps
def test_bare_generator_that_a_body_loops_over_is_known_to_trio(keep: Keep) -> None:
    async def inner() -> AsyncIterator[None]:
        try:
            yield
        finally:
            seen.append("inner")

    async def outer() -> AsyncIterator[None]:
        try:
            async for _ in inner():
                yield
        finally:
            seen.append("outer")

    async def main() -> None:
        await dropped(keep(outer)())

    seen: List[object] = []
    with complaints() as found:
        run_on_trio(main)
    assert (sorted(map(str, seen)), found) == (["inner", "outer"], [])


@keeps_runs
def test_run_that_trio_ends_leaves_nothing_in_the_system_task(keep: Keep) -> None:
    async def traced() -> AsyncIterator[None]:
        with clew.trace("body"):
            yield

    async def main(keep: Keep) -> object:
        with clew.trace("request"):
            await dropped(keep(traced)())
            return current_name()

    before = clew.stats()
    with clew.record() as runs, complaints() as found:
        assert in_empty_context(run_on_trio, lambda: main(keep)) == "request"
    runs.assert_tree("request\n  body [cancelled]")
    assert (found, clew.stats()) == ([], before)
    with clew.record(), complaints():
        assert in_empty_context(run_on_trio, lambda: main(bare)) == "body"


def advice_of_trio(keep: Keep) -> List[str]:
    """Return what trio warns of when a generator is dropped, but for the module that it is said to be of."""

    async def main() -> None:
        await dropped(keep(resets)([]))

    with complaints(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        in_empty_context(run_on_trio, main)
        let_finalizers_run()
    return [re.sub(r"'[\w.]+\.(\w+)'", r"'\1'", str(each.message)) for each in caught]


@keeps
def test_trio_gives_the_advice_that_it_gives_for_a_bare_generator(keep: Keep) -> None:
    (said,) = advice_of_trio(keep)
    assert [said] == advice_of_trio(bare)
    assert said.startswith("Async generator 'resets' was garbage collected before it had been exhausted.")
