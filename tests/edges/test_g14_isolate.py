"""
`isolate=[...]`: the variables named are the generator's own, and all others pass in both directions (G14).
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest

import clew
from tests.context._coroutines import finish, in_thread
from tests.context._loops import Main
from tests.edges._generators import Watched, as_user, bare, current_name, end, everywhere, in_task, on_every_loop, pause
from tests.edges._threads import in_empty_context, user

Run = Callable[[Main], Any]

isolated: Any = clew.context_generator(isolate=[user])

shared: ContextVar[Any] = ContextVar("shared")


def seen() -> object:
    return user.get(), shared.get("unset")


def sets_both() -> Iterator[object]:
    yield seen()
    tokens = user.set("body"), shared.set("body")
    yield seen()
    yield seen()
    shared.reset(tokens[1])
    user.reset(tokens[0])
    yield seen()


async def sets_both_async() -> AsyncIterator[object]:
    yield seen()
    await pause()
    tokens = user.set("body"), shared.set("body")
    await pause()
    yield seen()
    await pause()
    yield seen()
    shared.reset(tokens[1])
    user.reset(tokens[0])
    await pause()
    yield seen()


async def consumed(keep: Callable[[Any], Any], kind: str) -> List[object]:
    """Return what body and consumer see after each step; between them the consumer changes both variables once."""
    found = []
    generator = keep(sets_both if kind == "sync" else sets_both_async)()
    for number in range(4):
        item = next(generator) if kind == "sync" else await generator.__anext__()
        found.append((item, seen()))
        if number == 1:
            user.set("consumer")
            shared.set("consumer")
    if kind == "async":
        await end(generator)
    return found


both = pytest.mark.parametrize("kind", ["sync", "async"])


@both
@everywhere
def test_bare_generator_shares_all_its_variables(kind: str, run: Run) -> None:
    assert in_empty_context(run, lambda: consumed(bare, kind)) == [
        (("nobody", "unset"), ("nobody", "unset")),
        (("body", "body"), ("body", "body")),
        (("consumer", "consumer"), ("consumer", "consumer")),
        (("nobody", "unset"), ("nobody", "unset")),
    ]


@both
@everywhere
def test_generator_keeps_the_variable_named_and_shares_the_other(kind: str, run: Run) -> None:
    assert in_empty_context(run, lambda: consumed(isolated, kind)) == [
        (("nobody", "unset"), ("nobody", "unset")),
        (("body", "body"), ("nobody", "body")),
        (("body", "consumer"), ("consumer", "consumer")),
        (("nobody", "unset"), ("consumer", "unset")),
    ]


@isolated
def takes_over() -> Iterator[object]:
    for _ in range(3):
        yield seen()


def test_variable_named_is_that_of_the_call_and_the_other_that_of_each_step() -> None:
    def scenario() -> List[object]:
        user.set("call")
        shared.set("call")
        generator = takes_over()
        found = []
        for name in ("first", "second", "third"):
            user.set(name)
            shared.set(name)
            found.append(next(generator))
        return found

    assert in_empty_context(scenario) == [("call", "first"), ("call", "second"), ("call", "third")]


@isolated
def counts() -> Iterator[object]:
    """Count what is shared and what is not, to the end."""
    tokens = user.set(0), shared.set(shared.get(0))
    for _ in range(3):
        user.set(user.get() + 1)
        shared.set(shared.get() + 1)
        yield seen()
    user.reset(tokens[0])
    shared.reset(tokens[1])


def test_change_in_one_thread_does_not_reach_another_but_by_the_body() -> None:
    def step(start: object) -> object:
        user.set("consumer")
        shared.set(start)
        return next(generator, "end"), seen()

    generator = counts()
    assert in_thread(step, 0) == ((1, 1), ("consumer", 1))
    assert in_thread(step, 10) == ((2, 11), ("consumer", 11))
    assert in_thread(as_user("third").run, step, 20) == ((3, 21), ("consumer", 21))
    assert in_thread(step, 30)[0] == "end"


@on_every_loop
def test_token_is_valid_in_whichever_task_the_body_is_stepped(run: Run) -> None:
    @isolated
    async def body() -> AsyncIterator[object]:
        tokens = user.set("body"), shared.set("body")
        for _ in range(2):
            await pause()
            yield seen()
        user.reset(tokens[0])
        shared.reset(tokens[1])
        yield seen()

    async def step(name: str) -> object:
        shared.set(name)
        return await generators[0].__anext__(), seen()

    async def main() -> List[object]:
        generators.append(body())
        found = [await in_task(step(name)) for name in ("first", "second", "third")]
        await end(generators[0])
        return [*found, seen()]

    generators: List[Any] = []
    assert in_empty_context(run, main) == [
        (("body", "body"), ("nobody", "body")),
        (("body", "second"), ("nobody", "second")),
        (("nobody", "first"), ("nobody", "first")),
        ("nobody", "unset"),
    ]


def test_each_step_of_whoever_drives_an_awaiting_body_passes_on_both_ways() -> None:
    @isolated
    async def awaits() -> AsyncIterator[object]:
        shared.set("body")
        await pause()
        found = seen()
        user.set("body")
        await pause()
        yield found, seen()

    def step(name: str) -> object:
        user.set(name)
        shared.set(name)
        coroutine.send(None)
        return seen()

    generator = awaits()
    coroutine = generator.__anext__()
    assert in_empty_context(step, "first") == ("first", "body")
    assert in_empty_context(step, "second") == ("second", "second")
    last = in_empty_context(finish, driving(coroutine))
    assert last == (("nobody", "second"), ("body", "unset"))


async def driving(awaitable: Any) -> Any:
    return await awaitable


@everywhere
def test_run_passes_on_both_ways_as_in_a_bare_generator(run: Run) -> None:
    async def body() -> AsyncIterator[object]:
        with clew.trace("body"):
            await pause()
            yield current_name()
            yield current_name()

    async def main(keep: Callable[[Any], Any]) -> object:
        with clew.trace("consumer"):
            return [(each, current_name()) async for each in keep(body)()], current_name()

    def recorded(keep: Callable[[Any], Any]) -> object:
        with clew.record() as runs:
            found = in_empty_context(run, lambda: main(keep))
        return found, runs.tree()

    assert recorded(isolated) == recorded(bare)
    assert recorded(isolated)[0] == ([("body", "body")] * 2, "consumer")  # type: ignore[index]


@everywhere
@pytest.mark.usefixtures("no_collector")
def test_value_passed_on_is_gone_once_nobody_has_it(run: Run) -> None:
    @isolated
    async def passes_on() -> AsyncIterator[None]:
        token = shared.set(watched.make())
        yield
        shared.reset(token)
        del token
        yield

    async def main() -> bool:
        generator = passes_on()
        await generator.__anext__()
        assert not watched.is_gone()
        await generator.__anext__()
        is_gone = watched.is_gone()
        await end(generator)
        return is_gone

    watched = Watched()
    assert in_empty_context(run, main)
