"""
Generators made in a request and consumed after it has returned, as the body of a streaming response is (G12).
"""

from __future__ import annotations

import contextlib
from contextvars import copy_context
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest

import clew
from tests.context._coroutines import in_thread
from tests.context._loops import Main
from tests.edges._generators import (
    KEEPS,
    Keep,
    Watched,
    bare,
    current_name,
    everywhere,
    in_task,
    keeps_call,
    on_every_loop,
    pause,
)
from tests.edges._threads import in_empty_context, user

Run = Callable[[Main], Any]

# What `live` sees is its consumer's, and here that is the server: it is not meant for this.
NAMES = ("creation", "wrapped", "isolate")
keeps_request = pytest.mark.parametrize("keep", [KEEPS[name] for name in NAMES], ids=NAMES)


def looks() -> Iterator[object]:
    for _ in range(2):
        token = user.set((user.get(), "body"))
        user.reset(token)
        yield user.get()


async def looks_async() -> AsyncIterator[object]:
    for _ in range(2):
        token = user.set((user.get(), "body"))
        await pause()
        user.reset(token)
        yield user.get()


def request(fn: Any, *args: Any) -> Any:
    """Return the response, made in the context of a request that is over then."""

    def handle() -> Any:
        user.set("ada")
        with clew.trace("request"):
            return fn(*args)

    return copy_context().run(handle)


def served(keep: Keep, step: Callable[..., Any] = lambda fn, *args: fn(*args)) -> List[object]:
    response = request(keep(looks))
    return [step(next, response), step(next, response), user.get()]


async def served_async(keep: Keep) -> List[object]:
    response = request(keep(looks_async))
    return [*[each async for each in response], user.get()]


@everywhere
def test_bare_response_has_lost_the_values_of_its_request(run: Run) -> None:
    assert in_empty_context(served, bare) == ["nobody"] * 3
    assert in_empty_context(run, lambda: served_async(bare)) == ["nobody"] * 3


@keeps_request
@pytest.mark.parametrize("step", [lambda fn, *args: fn(*args), in_thread], ids=["here", "in threads"])
def test_response_has_the_values_of_its_request(keep: Keep, step: Callable[..., Any]) -> None:
    assert in_empty_context(served, keep, step) == ["ada", "ada", "nobody"]


@keeps_request
@everywhere
def test_async_response_has_the_values_of_its_request(keep: Keep, run: Run) -> None:
    assert in_empty_context(run, lambda: served_async(keep)) == ["ada", "ada", "nobody"]


@keeps_call
@on_every_loop
def test_response_made_in_another_task_has_the_values_of_that(keep: Keep, run: Run) -> None:
    async def handle() -> Any:
        user.set("ada")
        await pause()
        return keep(looks_async)()

    async def main() -> List[object]:
        response = await in_task(handle())
        return [each async for each in response]

    assert in_empty_context(run, main) == ["ada", "ada"]


def traced() -> Iterator[object]:
    for number in range(2):
        with clew.trace(f"chunk {number}"):
            pass
        yield current_name()


async def traced_async() -> AsyncIterator[object]:
    for number in range(2):
        with clew.trace(f"chunk {number}"):
            await pause()
        yield current_name()


def recorded(keep: Keep, run: Run) -> Any:
    """Return the runs of a server that has streamed one response of each kind."""

    async def main() -> None:
        with clew.trace("server"):
            for _ in request(keep(traced)):
                assert current_name() == "server"
            async for _ in request(keep(traced_async)):
                assert current_name() == "server"

    with clew.record() as runs:
        in_empty_context(run, main)
    return runs


@everywhere
def test_bare_response_nests_under_the_server(run: Run) -> None:
    chunks = "  chunk 0\n  chunk 1\n"
    recorded(bare, run).assert_tree(f"server\n  request\n{chunks}  request\n{chunks}")


@keeps_call
@everywhere
def test_response_nests_under_its_request(keep: Keep, run: Run) -> None:
    chunks = "    chunk 0\n    chunk 1\n"
    recorded(keep, run).assert_tree(f"server\n  request\n{chunks}  request\n{chunks}")


@keeps_request
@everywhere
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ["exhausted", "closed", "never started"])
def test_value_of_the_request_is_gone_with_its_response(keep: Keep, run: Run, end: str) -> None:
    def handle() -> Any:
        user.set(watched.make())
        return keep(looks_async)()

    async def main() -> bool:
        response = copy_context().run(handle)
        assert not watched.is_gone()
        with contextlib.suppress(StopAsyncIteration):
            while end == "exhausted":
                await response.__anext__()
        if end == "closed":
            await response.aclose()
        elif end == "never started":
            del response
        return watched.is_gone()

    watched = Watched()
    assert in_empty_context(run, main)
