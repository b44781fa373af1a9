"""
G17 with other people's streams: over a real socket, opened in a request and read when it has returned.

Each is read bare and wrapped. Streams of our own, with no third party, are in `tests/edges/test_g17_streams.py`;
the asynchronous ones in `test_async_streams.py`.
"""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from contextvars import copy_context
from typing import Any, Callable, Dict, List, NamedTuple, Tuple

import pytest

import clew
from tests.edges._threads import DEADLINE, FINALISED_BY, as_ada, in_empty_context, user
from tests.foreign._sdk_streams import OBJECTS, STREAMS
from tests.foreign._sse import WORDS, Notes, serving

Wrap = Callable[[Any], Any]
END = object()


def bare(stream: Any) -> Any:
    return stream


class Elsewhere(NamedTuple):
    """Hold what a call in another thread has returned, and whether it has left the context as it was."""

    result: Any
    is_unchanged: bool


def elsewhere(fn: Callable[..., Any], *args: Any) -> Elsewhere:
    def job() -> Elsewhere:
        user.set("someone else")
        before = dict(copy_context())
        return Elsewhere(fn(*args), dict(copy_context()) == before)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(in_empty_context, job).result(DEADLINE)


def opened(stack: ExitStack, open_stream: Callable[..., Any], notes: Notes, wrap: Wrap) -> Any:
    """Return a stream that somebody has opened and wrapped in a request, which has returned."""
    url = stack.enter_context(serving(notes))
    return as_ada(lambda: wrap(stack.enter_context(open_stream(url, notes))))


def in_another_thread(stream: Any) -> List[Elsewhere]:
    return [elsewhere(lambda: [repr(item) for item in stream])]


def each_in_another_thread(stream: Any) -> List[Elsewhere]:
    steps: List[Elsewhere] = []
    while not steps or steps[-1].result is not END:
        steps.append(elsewhere(next, stream, END))
    return steps


WAYS = pytest.mark.parametrize("read", [in_another_thread, each_in_another_thread])


@WAYS
@pytest.mark.parametrize("open_stream", STREAMS)
def test_bare_stream_is_read_in_its_consumers_context(open_stream: Any, read: Any) -> None:
    notes = Notes()
    with ExitStack() as stack:
        found = read(opened(stack, open_stream, notes, bare))
    assert len(notes.read) >= len(WORDS)
    assert set(notes.read) == {"someone else"}
    assert not all(each.is_unchanged for each in found)


@WAYS
@pytest.mark.parametrize("open_stream", STREAMS)
def test_stream_is_read_in_the_context_of_whoever_wrapped_it(open_stream: Any, read: Any) -> None:
    notes = Notes()
    with ExitStack() as stack:
        found = read(opened(stack, open_stream, notes, clew.wrap_stream))
    assert len(notes.read) >= len(WORDS)
    assert set(notes.read) == {"ada"}
    assert all(each.is_unchanged for each in found)


@WAYS
@pytest.mark.parametrize("open_stream", STREAMS)
def test_stream_gives_what_the_bare_one_gives(open_stream: Any, read: Any) -> None:
    items = []
    for wrap in (bare, clew.wrap_stream):
        with ExitStack() as stack:
            found = read(opened(stack, open_stream, Notes(), wrap))
            items.append([each.result if each.result is END else str(each.result) for each in found])
    assert items[0] == items[1]
    assert "thread" in str(items[0])


# How a stream may end. Each is given the one reference to it, in a list.


def is_read_to_the_end(box: List[Any], notes: Notes) -> object:
    return len([repr(item) for item in box.pop()])


def is_left_half_way(box: List[Any], notes: Notes) -> object:
    for item in box.pop():
        if len(notes.read) == 2:
            return repr(item)
    return None


def is_dropped_unread(box: List[Any], notes: Notes) -> None:
    box.pop()


def is_closed(box: List[Any], notes: Notes) -> object:
    stream = box.pop()
    next(stream)
    stream.close()
    return outcome(next, stream)


def is_closed_twice(box: List[Any], notes: Notes) -> None:
    stream = box.pop()
    next(stream)
    stream.close()
    stream.close()


def is_closed_by_a_block(box: List[Any], notes: Notes) -> None:
    with block(box.pop()) as stream:
        next(stream)


def is_closed_by_an_error_in_a_block(box: List[Any], notes: Notes) -> object:
    def fail() -> None:
        with block(box.pop()) as stream:
            next(stream)
            raise LookupError("in the block")

    return outcome(fail)


def fails(box: List[Any], notes: Notes) -> object:
    stream = box.pop()
    next(stream)
    notes.before_next_read = hang_up
    first = outcome(list, stream)
    return first, outcome(list, stream)


def block(stream: Any) -> Any:
    return stream if hasattr(type(stream), "__enter__") else closing(stream)


def hang_up() -> None:
    raise ConnectionError("hung up")


def outcome(fn: Callable[..., Any], *args: Any) -> Tuple[str, str]:
    try:
        return "returned", repr(fn(*args))
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
    fails,
]


class Ended(NamedTuple):
    """Hold how a stream has ended, and how often what it reads from was closed: at once, when collected, at exit."""

    outcome: object
    closed: Dict[str, Tuple[int, int]]
    closed_by: List[str]


def ended(open_stream: Any, wrap: Wrap, end: Callable[[List[Any], Notes], object]) -> Ended:
    notes = Notes()
    closed = {}
    with ExitStack() as stack:
        box = [opened(stack, open_stream, notes, wrap)]
        outcome = elsewhere(end, box, notes).result
        closed["at once"] = notes.asked_to_close, len(notes.closed)
        closed_by = list(notes.closed)
        elsewhere(gc.collect)
        closed["when collected"] = notes.asked_to_close, len(notes.closed)
    closed["at exit"] = notes.asked_to_close, len(notes.closed)
    return Ended(outcome, closed, closed_by)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("open_stream", STREAMS)
def test_stream_is_closed_when_the_bare_one_would_be(open_stream: Any, end: Any) -> None:
    without, with_clew = ended(open_stream, bare, end), ended(open_stream, clew.wrap_stream, end)
    assert with_clew.outcome == without.outcome
    assert with_clew.closed == without.closed
    assert with_clew.closed["at exit"][1] <= 1
    assert set(without.closed_by) <= FINALISED_BY
    assert set(with_clew.closed_by) <= {"ada"}


@pytest.mark.parametrize("open_stream", OBJECTS)
def test_stream_is_what_it_was(open_stream: Any) -> None:
    with ExitStack() as stack:
        plain = opened(stack, open_stream, Notes(), bare)
        stream = in_empty_context(clew.wrap_stream, plain)
        assert stream.__class__ is type(plain)
        # Some releases of anthropic take not even what is of a subclass for one.
        of_subclass: Any = object.__new__(type("Subclass", (type(plain),), {}))
        assert isinstance(stream, type(plain)) == isinstance(of_subclass, type(plain))
        assert stream.response is plain.response
        assert stream.response.status_code == 200
        assert set(dir(plain)) == set(dir(stream))
        assert clew.unwrap(stream) is plain
        assert clew.wrap_stream(stream) is stream
        with stream as entered:
            assert entered is stream
        assert plain.response.is_closed
        stream.note = "mine"
        assert plain.note == "mine"
        del stream.note
        assert not hasattr(plain, "note")
