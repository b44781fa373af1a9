"""
trio as a guest of asyncio: two event loops on one thread, each with async generators of its own (R10).
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, AsyncIterator, Callable, List

import pytest
import sniffio
import trio

import clew
from tests.context._loops import Main
from tests.edges._generators import (
    KEEPS,
    Keep,
    Watched,
    complaints,
    current_name,
    keeps,
    keeps_runs,
    on_asyncio,
    pause,
    settle_loop,
    take,
)
from tests.edges._threads import DEADLINE, in_empty_context, user

Run = Callable[[Main], Any]


async def with_guest(in_host: Main, in_guest: Main) -> Any:
    """Run both at once, and return what they return."""

    async def guest() -> Any:
        with trio.fail_after(DEADLINE):
            return await in_guest()

    loop = asyncio.get_running_loop()
    outcome = loop.create_future()
    trio.lowlevel.start_guest_run(
        guest,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=outcome.set_result,
        host_uses_signal_set_wakeup_fd=True,
    )
    try:
        from_host = await in_host()
    finally:
        ended = await outcome
    return from_host, ended.unwrap()


async def resets(seen: List[object]) -> AsyncIterator[object]:
    token = user.set("body")
    try:
        while True:
            await pause()
            yield sniffio.current_async_library(), user.get()
    finally:
        seen.append((sniffio.current_async_library(), user.get()))
        user.reset(token)
        seen.append(user.get())


async def used(keep: Keep, name: str) -> object:
    """Return what the body and the consumer see while both loops run."""
    user.set(name)
    seen: List[object] = []
    generator = keep(resets)(seen)
    found = []
    for _ in range(3):
        found.append((await take(generator), user.get()))
        await pause()
    await generator.aclose()
    return found, seen


@keeps
@on_asyncio
def test_generators_of_host_and_guest_have_their_own_values(keep: Keep, run: Run) -> None:
    found = in_empty_context(run, lambda: with_guest(lambda: used(keep, "host"), lambda: used(keep, "guest")))
    assert found == (
        ([(("asyncio", "body"), "host")] * 3, [("asyncio", "body"), "host"]),
        ([(("trio", "body"), "guest")] * 3, [("trio", "body"), "guest"]),
    )


async def left(keep: Keep, name: str, kept: Any) -> object:
    """Return what the body sees whose generator is dropped, or else kept."""
    user.set(name)
    seen: List[object] = []
    generator = keep(resets)(seen)
    await take(generator)
    if kept is not None:
        kept.append(generator)
    del generator
    await settle_loop()
    return seen


@keeps
@on_asyncio
@pytest.mark.parametrize("until_shutdown", [False, True])
def test_generators_that_are_left_are_finalised_by_their_own_loop(keep: Keep, run: Run, until_shutdown: bool) -> None:
    kept: Any = [] if until_shutdown else None
    with complaints() as found:
        seen = in_empty_context(
            run, lambda: with_guest(lambda: left(keep, "host", kept), lambda: left(keep, "guest", kept))
        )
    assert seen == ([("asyncio", "body"), "host"], [("trio", "body"), "guest"])
    assert found == []


@keeps
@on_asyncio
def test_generator_of_the_host_outlives_the_guest(keep: Keep, run: Run) -> None:
    async def main() -> List[object]:
        user.set("host")
        seen: List[object] = []
        # One that was started before there was a guest, and one while there is.
        generators = [keep(resets)(seen), keep(resets)(seen)]
        await take(generators[0])
        await with_guest(lambda: take(generators[1]), pause)
        assert await take(generators[0]) == await take(generators[1]) == ("asyncio", "body")
        generators.clear()
        await settle_loop()
        return seen

    with complaints() as found:
        assert in_empty_context(run, main) == [("asyncio", "body"), "host"] * 2
    assert found == []


@on_asyncio
@pytest.mark.parametrize("keep", [KEEPS["creation"], KEEPS["wrapped"]])
def test_generator_of_the_guest_that_the_host_drops_is_finalised_by_the_guest(keep: Keep, run: Run) -> None:
    async def guest() -> List[object]:
        user.set("guest")
        seen: List[object] = []
        generators.append(keep(resets)(seen))
        await take(generators[0])
        was_dropped = trio.Event()
        hand_over.set_result(functools.partial(trio.lowlevel.current_trio_token().run_sync_soon, was_dropped.set))
        await was_dropped.wait()
        await settle_loop()
        return seen

    async def host() -> None:
        tell_guest = await hand_over
        generators.clear()
        tell_guest()

    async def main() -> Any:
        nonlocal hand_over
        hand_over = asyncio.get_running_loop().create_future()
        return await with_guest(host, guest)

    hand_over: Any = None
    generators: List[Any] = []
    with complaints() as found:
        assert in_empty_context(run, main)[1] == [("trio", "body"), "guest"]
    assert found == []


@keeps_runs
@on_asyncio
def test_runs_of_host_and_guest_nest_apart(keep: Keep, run: Run) -> None:
    async def traced(name: str) -> AsyncIterator[object]:
        with clew.trace(f"body of {name}"):
            for number in range(2):
                await pause()
                with clew.trace(f"child {number} of {name}"):
                    await pause()
                yield current_name()

    async def consume(name: str) -> List[object]:
        with clew.trace(name):
            return [(each, current_name()) async for each in keep(traced)(name)]

    with clew.record() as runs:
        found = in_empty_context(run, lambda: with_guest(lambda: consume("host"), lambda: consume("guest")))
    assert found == ([("body of host", "host")] * 2, [("body of guest", "guest")] * 2)
    runs.assert_tree(
        """
        host
          body of host
            child 0 of host
            child 1 of host
        guest
          body of guest
            child 0 of guest
            child 1 of guest
        """
    )


@keeps
@on_asyncio
@pytest.mark.usefixtures("no_collector")
def test_value_is_gone_with_each_generator(keep: Keep, run: Run) -> None:
    async def holds(watched: Watched) -> AsyncIterator[None]:
        token = user.set(watched.make())
        try:
            yield
        finally:
            user.reset(token)

    async def drop(watched: Watched) -> bool:
        generator = keep(holds)(watched)
        await take(generator)
        del generator
        await settle_loop()
        return watched.is_gone()

    of_host, of_guest = Watched(), Watched()
    with complaints() as found:
        assert in_empty_context(run, lambda: with_guest(lambda: drop(of_host), lambda: drop(of_guest))) == (True, True)
    assert found == []
