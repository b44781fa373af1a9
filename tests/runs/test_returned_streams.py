"""
Streams that a traced function returns: its run goes on until they end, or they are left alone.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from typing import Any, AsyncIterator, Callable, Iterator

import pytest

import clew
from tests.edges._generators import pause
from tests.runs._streaming import Run, collect, on_every_loop, summary, work


@on_every_loop
def test_function_that_returns_a_generator_is_open_until_that_has_ended(runs: clew.Recording, run: Run) -> None:
    @clew.traceable
    def returns(make: Callable[[], Any]) -> Any:
        work(0)
        return make()

    @clew.traceable
    async def returns_later(make: Callable[[], Any]) -> Any:
        return make()

    def plain() -> Iterator[int]:
        work(1)
        yield 1

    async def plain_async() -> AsyncIterator[int]:
        work(2)
        yield 2

    def makers() -> Iterator[Any]:
        yield plain
        yield clew.context_generator(plain)
        yield lambda: clew.wrap_generator(plain())

    async def main() -> None:
        for make in (plain_async, clew.context_generator(plain_async)):
            assert [n async for n in returns(make)] == [2]
            stream = await returns_later(make)
            assert inspect.isasyncgen(stream)
            assert [n async for n in stream] == [2]

    for make in makers():
        stream = returns(make)
        assert runs.roots[-1].status == "pending"
        assert inspect.isgenerator(stream)
        assert list(stream) == [1]
    run(main)
    for found in runs.roots:
        assert (found.status, found.outputs) in (("success", {"output": [1]}), ("success", {"output": [2]}))
        assert len(found.children) == (2 if found.name == "returns" else 1)


def test_returned_generator_that_nobody_reads_is_cancelled(runs: clew.Recording) -> None:
    @clew.traceable
    def returns() -> Iterator[int]:
        return (n for n in range(3))

    returns()
    collect()
    assert summary(runs.find(name="returns")) == ("returns", "cancelled", {}, {"output": []})


def test_returned_generator_that_was_begun_is_left_alone(runs: clew.Recording) -> None:
    begun = (n for n in range(3))
    next(begun)
    assert clew.traceable(lambda: begun)() is begun
    assert runs.roots[0].status == "success"


class Tokens:
    """Be a stream as a client of a model has it: an object with a connection, and no generator."""

    def __init__(self, fails: bool = False) -> None:
        self.left = ["a", "b"]
        self.response = "response"
        self.fails = fails

    def __iter__(self) -> Tokens:
        return self

    def __next__(self) -> str:
        work(0)
        if self.left:
            return self.left.pop(0)
        if self.fails:
            raise KeyError("here")
        raise StopIteration

    def __enter__(self) -> Tokens:
        return self

    def __exit__(self, *_: object) -> None:
        self.left.clear()

    def close(self) -> None:
        self.left.clear()


class AsyncTokens(Tokens):
    def __aiter__(self) -> AsyncTokens:
        return self

    async def __anext__(self) -> str:
        await pause()
        try:
            return next(self)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        await pause()


class GeneratedTokens(Tokens):
    def __iter__(self) -> Any:
        while self.left:
            work(0)
            yield self.left.pop(0)

    async def __aiter__(self) -> Any:
        while self.left:
            await pause()
            work(0)
            yield self.left.pop(0)


@clew.traceable(reduce_fn="".join)
def complete(kind: Any, **options: Any) -> Any:
    return kind(**options)


@pytest.mark.parametrize("kind", [Tokens, GeneratedTokens])
def test_other_stream_is_tracked_where_it_is_reduced(runs: clew.Recording, kind: Any) -> None:
    with clew.trace("consumer") as consumer:
        stream = complete(kind)
        assert (stream.response, isinstance(stream, kind)) == ("response", True)
        for _ in stream:
            assert clew.get_current_run_tree() is consumer
    found = runs.find(name="complete")
    assert (found.status, found.outputs) == ("success", {"output": "ab"})
    assert {child.name for child in found.children} == {"work"}
    assert [event["name"] for event in found.events] == ["new_token"]


@pytest.mark.parametrize("kind", [AsyncTokens, GeneratedTokens])
@on_every_loop
def test_other_async_stream_is_tracked_where_it_is_reduced(runs: clew.Recording, run: Run, kind: Any) -> None:
    async def main() -> None:
        with clew.trace("consumer") as consumer:
            async for _ in complete(kind):
                assert clew.get_current_run_tree() is consumer

    run(main)
    found = runs.find(name="complete")
    assert (found.status, found.outputs) == ("success", {"output": "ab"})
    assert {child.name for child in found.children} == {"work"}


def test_other_stream_that_is_closed_early_is_cancelled(runs: clew.Recording) -> None:
    closed = complete(Tokens)
    next(closed)
    closed.close()
    with complete(Tokens) as left:
        next(left)
    dropped = complete(Tokens)
    next(dropped)
    del dropped

    async def main() -> None:
        stream = complete(AsyncTokens)
        await stream.__anext__()
        await stream.aclose()

    asyncio.run(main())
    collect()
    assert [(run.status, run.outputs) for run in runs.find_all(name="complete")] == [("cancelled", {"output": "a"})] * 4


def test_error_of_another_stream_is_an_error(runs: clew.Recording) -> None:
    with pytest.raises(KeyError, match="here"):
        list(complete(Tokens, fails=True))
    found = runs.find(name="complete")
    assert (found.status, found.outputs) == ("error", {"output": "ab"})


def test_what_is_returned_and_is_no_stream_is_the_output(runs: clew.Recording) -> None:
    assert complete(list) == []
    assert runs.find(name="complete").outputs == {"output": []}


def test_other_stream_is_left_alone_where_it_is_not_reduced(runs: clew.Recording) -> None:
    stream = clew.traceable(lambda: Tokens())()
    assert type(stream) is Tokens
    assert runs.roots[0].status == "success"


@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs an interpreter that counts references")
def test_generator_that_the_program_keeps_is_left_alone(runs: clew.Recording) -> None:
    kept = (n for n in range(3))
    log = clew.traceable(lambda: kept)
    for _ in log():
        break
    assert list(kept) == [1, 2]
    assert runs.roots[0].status == "success"


@pytest.mark.parametrize("kind", [Tokens, GeneratedTokens])
def test_wrapped_stream_is_tracked_as_it_is(runs: clew.Recording, kind: Any) -> None:
    @clew.traceable
    def wrapped(**options: Any) -> Any:
        return clew.wrap_stream(kind(**options))

    stream = wrapped()
    assert isinstance(stream, Tokens)
    assert stream.response == "response"
    assert (list(stream), runs.roots[0].status) == (["a", "b"], "success")
    found = runs.roots[0]
    assert (found.outputs, found.events[0]["name"]) == ({"output": ["a", "b"]}, "new_token")
    for each in wrapped():
        assert each == "a"
        break
    del each
    assert (runs.roots[1].status, runs.roots[1].outputs) == ("cancelled", {"output": ["a"]})


@on_every_loop
@pytest.mark.parametrize("kind", [AsyncTokens, GeneratedTokens])
def test_wrapped_async_stream_is_tracked_as_it_is(runs: clew.Recording, run: Run, kind: Any) -> None:
    @clew.traceable
    async def wrapped() -> Any:
        return clew.wrap_stream(kind())

    async def main() -> None:
        assert [each async for each in await wrapped()] == ["a", "b"]

    run(main)
    assert (runs.roots[0].status, runs.roots[0].outputs) == ("success", {"output": ["a", "b"]})


def test_error_of_a_wrapped_stream_is_an_error_with_the_streams_frames(runs: clew.Recording) -> None:
    @clew.traceable
    def wrapped() -> Any:
        return clew.wrap_stream(Tokens(fails=True))

    stream = wrapped()
    with pytest.raises(KeyError) as raised:
        list(stream)
    assert runs.roots[0].status == "error"
    assert [entry.name for entry in raised.traceback][1:] == ["__next__", "__next__"]
