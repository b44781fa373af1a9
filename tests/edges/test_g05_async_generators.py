"""
Async generators between steps: what one sets reaches its consumer (G05), or another one (G06).
"""

from __future__ import annotations

import asyncio
from typing import Any, AsyncIterator, Callable, List

import pytest
import sniffio
import trio

import clew
from tests.context._loops import ASYNCIO, Main, run_on_trio
from tests.edges._generators import (
    Keep,
    Watched,
    bare,
    current_name,
    everywhere,
    keeps,
    keeps_runs,
    on_every_loop,
    pause,
    take,
)
from tests.edges._threads import Value, in_empty_context, reset_inside, user

Run = Callable[[Main], Any]


async def sets_user(name: object = "body") -> AsyncIterator[object]:
    token = user.set(name)
    try:
        for _ in range(3):
            reset_inside()
            await pause()
            yield user.get()
            await pause()
    finally:
        user.reset(token)


async def seen_by_consumer(keep: Keep) -> object:
    """Return what the body sees at each step, and the consumer after it, and at the end."""
    user.set("ada")
    return [(inside, user.get()) async for inside in keep(sets_user)()], user.get()


@everywhere
def test_bare_generator_shows_its_value_to_its_consumer(run: Run) -> None:
    assert in_empty_context(run, lambda: seen_by_consumer(bare)) == ([("body", "body")] * 3, "ada")


@keeps
@everywhere
def test_generator_keeps_its_value_to_itself(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: seen_by_consumer(keep)) == ([("body", "ada")] * 3, "ada")


async def traced(name: str = "body") -> AsyncIterator[object]:
    async with clew.trace(name):
        for number in range(2):
            await pause()
            with clew.trace(f"{name} {number}"):
                await pause()
            yield current_name()


async def tree_of_consumer(keep: Keep) -> Any:
    with clew.record() as runs, clew.trace("consumer"):
        async for _ in keep(traced)():
            with clew.trace("between"):
                await pause()
    return runs


@everywhere
def test_bare_generator_takes_the_runs_of_its_consumer(run: Run) -> None:
    in_empty_context(run, lambda: tree_of_consumer(bare)).assert_tree(
        """
        consumer
          body
            body 0
            between
            body 1
            between
        """
    )


@keeps_runs
@everywhere
def test_generator_has_its_own_runs_and_leaves_the_consumers(keep: Keep, run: Run) -> None:
    in_empty_context(run, lambda: tree_of_consumer(keep)).assert_tree(
        """
        consumer
          body
            body 0
            body 1
          between
          between
        """
    )


async def in_turns(*generators: Any) -> List[Any]:
    """Return the items of generators that are stepped in turns, to the end of all of them."""
    found = []
    while True:
        try:
            found.append(tuple([await each.__anext__() for each in generators]))
        except StopAsyncIteration:
            for each in generators:
                await each.aclose()
            return found


async def gathered(*generators: Any) -> List[Any]:
    """Return the items of generators whose steps run at the same time, in tasks."""
    found: List[Any] = []
    for _ in range(3):
        if sniffio.current_async_library() == "asyncio":
            found.append(tuple(await asyncio.gather(*map(take, generators))))
        else:
            found.append(tuple(await trio_gather(*map(take, generators))))
    return found


async def trio_gather(*coroutines: Any) -> List[Any]:
    found: List[Any] = [None] * len(coroutines)

    async def keep_result(index: int, coroutine: Any) -> None:
        found[index] = await coroutine

    async with trio.open_nursery() as nursery:
        for index, coroutine in enumerate(coroutines):
            nursery.start_soon(keep_result, index, coroutine)
    return found


async def interleaved(keep: Keep, together: Callable[..., Any]) -> object:
    return await together(keep(sets_user)("a"), keep(sets_user)("b"))


@everywhere
def test_bare_generators_in_turns_see_each_others_value(run: Run) -> None:
    found = in_empty_context(run, lambda: interleaved(bare, in_turns))
    assert found == [("a", "b"), ("b", "b"), ("b", "b")]


@keeps
@everywhere
def test_generators_in_turns_see_their_own_values(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: interleaved(keep, in_turns)) == [("a", "b")] * 3


async def interleaved_and_left(keep: Keep) -> object:
    async def never_resets(name: str) -> AsyncIterator[object]:
        user.set(name)
        while True:
            await pause()
            yield user.get()

    generators = [keep(never_resets)("a"), keep(never_resets)("b")]
    found = await gathered(*generators)
    for each in generators:
        await each.aclose()
    return found


@on_every_loop
def test_bare_generators_lose_their_values_when_they_are_gathered(run: Run) -> None:
    found = in_empty_context(run, lambda: interleaved_and_left(bare))
    assert found == [("a", "b"), ("nobody", "nobody"), ("nobody", "nobody")]


@keeps
@on_every_loop
def test_generators_have_their_own_values_when_they_are_gathered(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: interleaved_and_left(keep)) == [("a", "b")] * 3


async def runs_of_two(keep: Keep) -> Any:
    with clew.record() as runs, clew.trace("consumer"):
        generators = [keep(traced)("a"), keep(traced)("b")]
        found = [(await take(generators[0]), await take(generators[1])) for _ in range(2)]
        for each in generators:
            assert [item async for item in each] == []
    return found, runs


@everywhere
def test_bare_generators_nest_in_each_other(run: Run) -> None:
    found, runs = in_empty_context(run, lambda: runs_of_two(bare))
    assert found == [("a", "b"), ("b", "b")]
    assert "a 1" not in [child.name for child in runs.find(name="a").children]


@keeps_runs
@everywhere
def test_generators_nest_under_their_consumer_each(keep: Keep, run: Run) -> None:
    found, runs = in_empty_context(run, lambda: runs_of_two(keep))
    assert found == [("a", "b")] * 2
    runs.assert_tree(
        """
        consumer
          a
            a 0
            a 1
          b
            b 0
            b 1
        """
    )


async def holds(value: Value) -> AsyncIterator[None]:
    user.set(value)
    del value
    for _ in range(2):
        await pause()
        yield


@keeps
@everywhere
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["exhausted", "closed"])
def test_value_of_the_body_is_gone_with_the_body(keep: Keep, run: Run, end: str) -> None:
    async def main() -> None:
        generator = keep(holds)(watched.make())
        await generator.__anext__()
        assert not watched.is_gone()
        if end == "closed":
            await generator.aclose()
        else:
            assert [item async for item in generator] == [None]
        assert watched.is_gone()
        await generator.aclose()

    watched = Watched()
    in_empty_context(run, main)


@keeps
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("run", [ASYNCIO["asyncio"], run_on_trio], ids=["asyncio", "trio"])
@pytest.mark.parametrize("end", ["exhausted", "closed", "never started"])
def test_value_of_the_call_is_gone_with_the_body(keep: Keep, run: Run, end: str) -> None:
    async def sees_it() -> AsyncIterator[bool]:
        yield type(user.get()) is Value

    async def main() -> None:
        token = user.set(watched.make())
        generators = [keep(sees_it)()]
        if end != "never started":
            assert await generators[0].__anext__()
        user.reset(token)
        del token
        if end == "exhausted":
            assert [item async for item in generators[0]] == []
        elif end == "closed":
            await generators[0].aclose()
        else:
            generators.clear()
        assert watched.is_gone()

    watched = Watched()
    in_empty_context(run, main)
