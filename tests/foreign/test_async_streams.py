"""
G17 with other people's asynchronous streams: like `test_streams.py`, in tasks instead of threads.

Starlette, which reads synchronous ones from a task, is in `test_streams_in_starlette.py`.
"""

from __future__ import annotations

import gc
from contextlib import AsyncExitStack
from contextvars import copy_context
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import anyio
import pytest
import trio

import clew
from clew._shared.locks import RUNS_WITHOUT_GIL
from tests.context._loops import ASYNCIO, checkpoint, run_on_asyncio
from tests.edges._threads import DEADLINE, FINALISED_BY, in_empty_context, user
from tests.foreign._sdk_streams import (
    ASYNC_OBJECTS,
    ASYNC_STREAMS,
)
from tests.foreign._sse import WORDS, Notes, serving

# With [DONE], openai leaves generators of its own half-way, bare or wrapped.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'openai:ResourceWarning")

Wrap = Callable[[Any], Any]
END = object()


def bare(stream: Any) -> Any:
    return stream


def run_on_trio(main: Any) -> Any:
    """Run with a clock that does not jump: what is waited for comes from a socket."""

    async def before_the_deadline() -> Any:
        with trio.fail_after(DEADLINE):
            return await main()

    return trio.run(before_the_deadline)


LOOPS = pytest.mark.parametrize("run", [*ASYNCIO.values(), run_on_trio], ids=[*ASYNCIO, "trio"])


class Elsewhere(NamedTuple):
    """Hold what a call in another task has returned, and whether it has left the context as it was."""

    result: Any
    is_unchanged: bool


async def elsewhere(fn: Callable[..., Any], *args: Any) -> Elsewhere:
    found = []

    async def task() -> None:
        user.set("someone else")
        before = dict(copy_context())
        result = await fn(*args)
        found.append(Elsewhere(result, dict(copy_context()) == before))

    async with anyio.create_task_group() as group:
        group.start_soon(task)
    return found[0]


async def opened(stack: AsyncExitStack, open_stream: Callable[..., Any], notes: Notes, wrap: Wrap) -> Any:
    """Return a stream that ada has opened and wrapped in a request, which is over."""
    url = stack.enter_context(serving(notes))
    user.set("ada")
    stream = wrap(await stack.enter_async_context(open_stream(url, notes)))
    user.set("nobody")
    return stream


async def in_another_task(stream: Any) -> List[Elsewhere]:
    async def read() -> Any:
        return [repr(item) async for item in stream]

    return [await elsewhere(read)]


async def each_in_another_task(stream: Any) -> List[Elsewhere]:
    async def read() -> Any:
        try:
            return await stream.__anext__()
        except StopAsyncIteration:
            return END

    steps: List[Elsewhere] = []
    while not steps or steps[-1].result is not END:
        steps.append(await elsewhere(read))
    return steps


def read_on(run: Any, read: Any, open_stream: Any, notes: Notes, wrap: Wrap) -> Any:
    async def main() -> Any:
        async with AsyncExitStack() as stack:
            return await read(await opened(stack, open_stream, notes, wrap))

    return in_empty_context(run, main)


WAYS = pytest.mark.parametrize("read", [in_another_task, each_in_another_task])


@WAYS
@pytest.mark.parametrize("open_stream", ASYNC_STREAMS)
def test_bare_async_stream_is_read_in_its_consumers_context(open_stream: Any, read: Any) -> None:
    notes = Notes()
    found = read_on(run_on_asyncio, read, open_stream, notes, bare)
    assert len(notes.read) >= len(WORDS)
    assert set(notes.read) == {"someone else"}
    assert not all(each.is_unchanged for each in found)


@WAYS
@pytest.mark.parametrize("open_stream", ASYNC_STREAMS)
def test_async_stream_is_read_in_the_context_of_whoever_wrapped_it(open_stream: Any, read: Any) -> None:
    notes = Notes()
    found = read_on(run_on_asyncio, read, open_stream, notes, clew.wrap_stream)
    assert len(notes.read) >= len(WORDS)
    assert set(notes.read) == {"ada"}
    assert all(each.is_unchanged for each in found)


@LOOPS
@pytest.mark.parametrize("open_stream", ASYNC_STREAMS)
def test_async_stream_gives_what_the_bare_one_gives(open_stream: Any, run: Any) -> None:
    notes = Notes()
    plain, wrapped = (
        [str(each.result) for each in read_on(run, in_another_task, open_stream, notes, wrap)]
        for notes, wrap in ((Notes(), bare), (notes, clew.wrap_stream))
    )
    assert plain == wrapped
    assert "thread" in str(plain)
    assert set(notes.read) == {"ada"}


# How a stream may end. Each is given the one reference to it, in a list.


async def is_read_to_the_end(box: List[Any], notes: Notes) -> object:
    return len([repr(item) async for item in box.pop()])


async def is_left_half_way(box: List[Any], notes: Notes) -> object:
    async for item in box.pop():
        if len(notes.read) == 2:
            return repr(item)
    return None


async def is_dropped_unread(box: List[Any], notes: Notes) -> None:
    box.pop()


async def is_closed(box: List[Any], notes: Notes) -> object:
    stream = box.pop()
    await stream.__anext__()
    await close(stream)
    return await outcome(stream.__anext__)


async def is_closed_twice(box: List[Any], notes: Notes) -> None:
    stream = box.pop()
    await stream.__anext__()
    await close(stream)
    await close(stream)


async def is_closed_by_a_block(box: List[Any], notes: Notes) -> None:
    async with block(box.pop()) as stream:
        await stream.__anext__()


async def is_closed_by_an_error_in_a_block(box: List[Any], notes: Notes) -> object:
    async def fail() -> None:
        async with block(box.pop()) as stream:
            await stream.__anext__()
            raise LookupError("in the block")

    return await outcome(fail)


async def is_cancelled_while_it_reads(box: List[Any], notes: Notes) -> object:
    stream = box.pop()
    await stream.__anext__()
    with anyio.CancelScope() as scope:
        notes.before_next_read = scope.cancel
        async for _ in stream:
            pass
    return scope.cancel_called, await outcome(stream.__anext__)


async def fails(box: List[Any], notes: Notes) -> object:
    stream = box.pop()
    await stream.__anext__()
    notes.before_next_read = hang_up
    return [await outcome(in_a_list, stream) for _ in range(2)]


class block:
    """Be what closes a stream at its end: its own block, or for a generator one like `contextlib.aclosing`."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aenter__(self) -> Any:
        if hasattr(type(self._stream), "__aenter__"):
            return await self._stream.__aenter__()
        return self._stream

    async def __aexit__(self, *exception: object) -> Any:
        if hasattr(type(self._stream), "__aexit__"):
            return await self._stream.__aexit__(*exception)
        return await self._stream.aclose()


async def close(stream: Any) -> None:
    await (stream.close() if hasattr(stream, "close") else stream.aclose())


async def in_a_list(stream: Any) -> Any:
    return [item async for item in stream]


def hang_up() -> None:
    raise ConnectionError("hung up")


async def outcome(fn: Callable[..., Any], *args: Any) -> Tuple[str, str]:
    try:
        return "returned", repr(await fn(*args))
    except BaseException as error:
        return type(error).__name__, str(error)


ENDS = [
    is_read_to_the_end,
    is_left_half_way,
    is_dropped_unread,
    is_closed,
    is_closed_twice,
    is_closed_by_a_block,
    is_closed_by_an_error_in_a_block,
    is_cancelled_while_it_reads,
    fails,
]


class Ended(NamedTuple):
    """Hold how a stream has ended, and how often what it reads from was closed: at once, when collected, at exit."""

    outcome: object
    closed: Dict[str, Tuple[int, int]]
    closed_by: List[str]


def ended(open_stream: Any, wrap: Wrap, end: Callable[[List[Any], Notes], Any]) -> Ended:
    notes = Notes()
    closed = {}

    async def collect() -> None:
        gc.collect()
        for _ in range(20):  # in which what the loop has been given to finalise is finalised
            await checkpoint()

    async def main() -> Any:
        async with AsyncExitStack() as stack:
            box = [await opened(stack, open_stream, notes, wrap)]
            outcome = (await elsewhere(end, box, notes)).result
            closed["at once"] = notes.asked_to_close, len(notes.closed)
            closed_by = list(notes.closed)
            await elsewhere(collect)
            closed["when collected"] = notes.asked_to_close, len(notes.closed)
        closed["at exit"] = notes.asked_to_close, len(notes.closed)
        return outcome, closed_by

    outcome, closed_by = in_empty_context(run_on_asyncio, main)
    return Ended(outcome, closed, closed_by)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("open_stream", ASYNC_STREAMS)
def test_async_stream_is_closed_when_the_bare_one_would_be(open_stream: Any, end: Any) -> None:
    if RUNS_WITHOUT_GIL and end is is_left_half_way:
        pytest.skip(
            "needs a GIL: without one, the collector closes the generators of the bare stream, too, in any order"
        )
    without, with_clew = ended(open_stream, bare, end), ended(open_stream, clew.wrap_stream, end)
    assert with_clew.outcome == without.outcome
    assert with_clew.closed == without.closed
    assert with_clew.closed["at exit"][1] <= 1
    assert set(without.closed_by) <= FINALISED_BY
    assert set(with_clew.closed_by) <= {"ada"}


@pytest.mark.parametrize("open_stream", ASYNC_OBJECTS)
def test_async_stream_is_what_it_was(open_stream: Any) -> None:
    async def main() -> None:
        async with AsyncExitStack() as stack:
            plain = await opened(stack, open_stream, Notes(), bare)
            stream = clew.wrap_stream(plain)
            assert stream.__class__ is type(plain)
            # Some releases of anthropic take not even what is of a subclass for one.
            of_subclass: Any = object.__new__(type("Subclass", (type(plain),), {}))
            assert isinstance(stream, type(plain)) == isinstance(of_subclass, type(plain))
            assert stream.response is plain.response
            assert stream.response.status_code == 200
            assert set(dir(plain)) == set(dir(stream))
            assert clew.unwrap(stream) is plain
            assert clew.wrap_stream(stream) is stream
            async with stream as entered:
                assert entered is stream
            assert plain.response.is_closed

    in_empty_context(run_on_asyncio, main)
