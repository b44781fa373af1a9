"""
`inherit="live"`: the consumer's values show through, but for those that the body has set (G13).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest

import clew
from tests.context._coroutines import finish, in_thread
from tests.context._loops import Main
from tests.edges._generators import Watched, as_user, current_name, end, everywhere, in_task, on_every_loop, pause, take
from tests.edges._threads import in_empty_context, user

Run = Callable[[Main], Any]

live: Any = clew.context_generator(inherit="live")

other: ContextVar[Any] = ContextVar("other")


@live
def looks() -> Iterator[object]:
    while True:
        yield user.get(), other.get("unset")


@live
async def looks_async() -> AsyncIterator[object]:
    while True:
        await pause()
        yield user.get(), other.get("unset")


@live
def sets_and_resets() -> Iterator[object]:
    yield user.get()
    token = user.set("body")
    yield user.get()
    yield user.get()
    user.reset(token)
    yield "reset"
    yield user.get()


@live
async def sets_and_resets_async() -> AsyncIterator[object]:
    yield user.get()
    await pause()
    token = user.set("body")
    yield user.get()
    await pause()
    yield user.get()
    user.reset(token)
    yield "reset"
    await pause()
    yield user.get()


class Stepped:
    """Step a generator of the sync kind as one of the other."""

    def __init__(self, generator: Iterator[object]) -> None:
        self._generator = generator

    async def __anext__(self) -> object:
        return next(self._generator)

    async def aclose(self) -> None:
        self._generator.close()  # type: ignore[attr-defined]


both = pytest.mark.parametrize("kind", ["sync", "async"])


def looking(kind: str) -> Any:
    return Stepped(looks()) if kind == "sync" else looks_async()


def setting(kind: str) -> Any:
    return Stepped(sets_and_resets()) if kind == "sync" else sets_and_resets_async()


@both
@everywhere
def test_consumers_later_change_is_seen(kind: str, run: Run) -> None:
    async def main() -> List[object]:
        generator = looking(kind)
        found = [await take(generator)]
        tokens = user.set("ada"), other.set(1)
        found.append(await take(generator))
        other.reset(tokens[1])
        found.append(await take(generator))
        user.reset(tokens[0])
        found.append(await take(generator))
        await end(generator)
        return found

    assert in_empty_context(run, main) == [("nobody", "unset"), ("ada", 1), ("ada", "unset"), ("nobody", "unset")]


@both
@everywhere
def test_bodys_own_value_is_not_overwritten_and_once_it_is_reset_the_consumers_shows(kind: str, run: Run) -> None:
    async def main() -> List[object]:
        generator = setting(kind)
        found = []
        for name in ("first", "second", "third", "fourth", "fifth"):
            user.set(name)
            found.append(await take(generator))
            assert user.get() == name
        await end(generator)
        return found

    assert in_empty_context(run, main) == ["first", "body", "body", "reset", "fifth"]


@both
@on_every_loop
def test_token_is_valid_in_whichever_task_the_body_is_stepped(kind: str, run: Run) -> None:
    async def step_as(name: str) -> object:
        user.set(name)
        return await take(generators[0])

    async def main() -> List[object]:
        generators.append(setting(kind))
        found = [await in_task(step_as(name)) for name in ("first", "second", "third", "fourth", "fifth")]
        await end(generators.pop())
        return found

    generators: List[Any] = []
    assert in_empty_context(run, main) == ["first", "body", "body", "reset", "fifth"]


def test_token_is_valid_in_whichever_thread_the_body_is_stepped() -> None:
    names = ("first", "second", "third", "fourth", "fifth")
    generator = sets_and_resets()
    found = [in_thread(as_user(name).run, next, generator) for name in names]
    assert found == ["first", "body", "body", "reset", "fifth"]


def test_body_has_its_own_value_also_where_it_awaits() -> None:
    @live
    async def awaits() -> AsyncIterator[object]:
        seen = [user.get()]
        await pause()
        seen.append(user.get())
        token = user.set("body")
        await pause()
        seen.append(user.get())
        user.reset(token)
        await pause()
        yield [*seen, user.get()]

    step = take(awaits())
    for name in ("first", "second", "third"):
        as_user(name).run(step.send, None)
    # Each step is one of whoever drives it: not only those that ask for an item.
    assert as_user("fourth").run(finish, step) == ["first", "second", "body", "fourth"]


def test_generators_that_are_live_show_their_consumers_through_each_other() -> None:
    @live
    def outer() -> Iterator[object]:
        inner = looks()
        yield next(inner)
        other.set("of the outer one")
        yield next(inner)
        yield next(inner)

    def scenario() -> List[object]:
        found = []
        generator = outer()
        for name in ("first", "second", "third"):
            user.set(name)
            found.append(next(generator))
        return [*found, other.get("unset")]

    expected = [("first", "unset"), ("second", "of the outer one"), ("third", "of the outer one"), "unset"]
    assert in_empty_context(scenario) == expected


@everywhere
def test_runs_of_the_body_nest_under_the_consumers_until_it_opens_its_own(run: Run) -> None:
    @live
    async def body() -> AsyncIterator[object]:
        for number in range(2):
            with clew.trace(f"child {number}"):
                await pause()
            yield current_name()
        with clew.trace("own"):
            yield current_name()
            with clew.trace("child 2"):
                await pause()
            yield current_name()
        yield None

    async def main() -> List[object]:
        generator = body()
        found = []
        for number in range(5):
            with clew.trace(f"consumer {number}"):
                found.append(await take(generator))
                assert current_name() == f"consumer {number}"
        await end(generator)
        return found

    with clew.record() as runs:
        assert in_empty_context(run, main) == ["consumer 0", "consumer 1", "own", "own", None]
    runs.assert_tree(
        """
        consumer 0
          child 0
        consumer 1
          child 1
        consumer 2
          own
            child 2
        consumer 3
        consumer 4
        """
    )


@both
@everywhere
@pytest.mark.usefixtures("no_collector")
def test_value_that_the_consumer_has_no_more_is_gone_at_the_next_step(kind: str, run: Run) -> None:
    async def main() -> bool:
        generator = looking(kind)
        token = user.set(watched.make())
        await take(generator)
        user.reset(token)
        del token
        await take(generator)
        is_gone = watched.is_gone()
        await end(generator)
        return is_gone

    watched = Watched()
    assert in_empty_context(run, main)
