"""
`wrap_stream` with objects of each kind, and with a stream that is used in two places at once.
"""

from __future__ import annotations

import asyncio
import copy
import operator
import pickle
import platform
import threading
import weakref
from contextvars import Context
from typing import Any, AsyncIterator, Callable, Iterator, List

import pytest

import clew
from tests.edges._threads import DEADLINE, as_ada, in_empty_context, is_gone, look, user

local = threading.local()


class Stream:
    """An iterator whose items are the current user."""

    note = "of the class"

    def __init__(self) -> None:
        self.seen: List[object] = []

    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self) -> object:
        self.seen.append(look())
        return look()

    def close(self) -> object:
        self.seen.append(("closed", look()))
        return look()


class Pages:
    """A sequence with an iterator object, and with a second iterator that is a generator."""

    def __iter__(self) -> Iterator[object]:
        return Stream()

    def __len__(self) -> int:
        return 3

    def __contains__(self, item: object) -> bool:
        return item == "page"

    def __getitem__(self, index: int) -> object:
        return f"page {index}"

    def __bool__(self) -> bool:
        return False


class Lines:
    def __iter__(self) -> Iterator[object]:
        yield look()
        user.set("changed")
        yield look()


class AsyncLines:
    async def __aiter__(self) -> AsyncIterator[object]:
        yield look()
        await asyncio.sleep(0)
        user.set("changed")
        yield look()


def test_stream_is_unwrapped_and_wrapped_once() -> None:
    stream = Stream()
    wrapped = clew.wrap_stream(stream)
    assert clew.unwrap(wrapped) is stream
    assert clew.wrap_stream(wrapped) is wrapped


@pytest.mark.parametrize("wrap", [clew.wrap_stream, clew.wrap_generator])
def test_generator_is_driven_and_unwrapped(wrap: Callable[[Any], Any]) -> None:
    generator = iter(Lines())
    wrapped = as_ada(lambda: wrap(generator))
    assert type(wrapped) is type(generator)
    assert clew.wrap_stream(wrapped) is wrapped
    assert clew.unwrap(wrapped) is generator
    assert next(wrapped) == "ada"
    assert clew.unwrap(wrapped) is generator
    assert list(wrapped) == ["changed"]
    assert clew.unwrap(wrapped) is wrapped


def test_iterator_of_an_iterable_runs_in_the_same_context() -> None:
    for make, expected in ((Lines, ["ada", "changed"]), (lambda: [1, 2], [1, 2])):
        assert in_empty_context(list, as_ada(lambda make=make: clew.wrap_stream(make()))) == expected
    assert next(iter(as_ada(lambda: clew.wrap_stream(Pages())))) == "ada"


def test_iterator_of_an_async_iterable_runs_in_the_same_context() -> None:
    async def main(stream: Any) -> List[object]:
        return [item async for item in stream]

    stream = as_ada(lambda: clew.wrap_stream(AsyncLines()))
    assert in_empty_context(asyncio.run, main(stream)) == ["ada", "changed"]
    assert not isinstance(stream, AsyncIterator)


def test_special_methods_are_those_of_the_stream() -> None:
    pages = clew.wrap_stream(Pages())
    assert (len(pages), "page" in pages, pages[1], bool(pages)) == (3, True, "page 1", False)
    assert not hasattr(pages, "__next__")
    assert not hasattr(clew.wrap_stream(Stream()), "__len__")


def test_attributes_are_those_of_the_stream() -> None:
    stream = Stream()
    wrapped: Any = clew.wrap_stream(stream)
    wrapped.note = "set"
    assert (stream.note, wrapped.seen is stream.seen, dir(wrapped)) == ("set", True, dir(stream))
    del wrapped.note
    assert wrapped.note == "of the class"
    assert repr(wrapped) == f"<clew.wrap_stream of {stream!r}>"
    with pytest.raises(AttributeError, match="missing"):
        wrapped.missing


def test_methods_that_step_or_close_are_equal_for_one_stream() -> None:
    stream, other = clew.wrap_stream(Stream()), clew.wrap_stream(Stream())
    assert stream.close == stream.close != other.close
    assert stream.close.__name__ == "close"


def test_sending_of_what_is_no_generator_is_its_callers() -> None:
    class Socket(Stream):
        def send(self, text: str) -> object:
            return text, look()

    socket: Any = as_ada(lambda: clew.wrap_stream(Socket()))
    assert in_empty_context(socket.send, "hello") == ("hello", "nobody")
    assert in_empty_context(socket.close) == "ada"


def test_stream_that_is_more_than_that_stays_so() -> None:
    class Cursor(AsyncLines):
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return look()

        def __call__(self, word: str) -> object:
            return word, look()

    async def main(cursor: Any) -> object:
        return await cursor, cursor("word")

    cursor = as_ada(lambda: clew.wrap_stream(Cursor()))
    assert in_empty_context(asyncio.run, main(cursor)) == ("ada", ("word", "nobody"))
    values: Any = clew.wrap_stream({"a": 1})
    values["b"] = 2
    del values["a"]
    assert (list(values), operator.length_hint(clew.wrap_stream(iter([1, 2, 3])))) == (["b"], 3)
    assert list(reversed(clew.wrap_stream([1, 2]))) == [2, 1]


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_copying_is_refused(take: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"a context stays in its process; pass clew.unwrap\(it"):
        take(clew.wrap_stream(Stream()))


def test_stream_closed_by_another_thread_while_it_is_read_is_closed_in_a_copy() -> None:
    is_reading, is_closed = threading.Event(), threading.Event()

    class Blocking(Stream):
        def __next__(self) -> object:
            is_reading.set()
            assert is_closed.wait(DEADLINE)
            user.set("reader's")
            return look()

    stream = as_ada(lambda: clew.wrap_stream(Blocking()))
    found: List[object] = []
    reader = threading.Thread(target=lambda: found.append(next(stream)))
    reader.start()
    assert is_reading.wait(DEADLINE)
    found.append(in_empty_context(stream.close))
    is_closed.set()
    reader.join(DEADLINE)
    assert found == ["ada", "reader's"]


def test_stream_that_closes_itself_while_it_is_read_does_so_in_its_context() -> None:
    class Closing(Stream):
        def __next__(self) -> object:
            user.set("reader's")
            return wrapped[0].close()

    wrapped: List[Any] = []
    wrapped.append(as_ada(lambda: clew.wrap_stream(Closing())))
    assert next(wrapped[0]) == "reader's"


def test_thread_locals_travel_with_a_stream() -> None:
    class Reading(Stream):
        def __next__(self) -> object:
            found, local.tenant = local.tenant, "its own"
            return found

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> object:
            await asyncio.sleep(0)
            return next(self)

    async def main() -> object:
        return await stream.__anext__()

    unregister = clew.register_accessor("tenant", clew.thread_local_accessor(local, "tenant"))
    try:
        local.tenant = "ada"
        stream: Any = clew.wrap_stream(Reading())
        local.tenant = "bob"
        assert [next(stream), next(stream), asyncio.run(main()), local.tenant] == ["ada", "its own", "its own", "bob"]
    finally:
        unregister()
        del local.tenant


@pytest.mark.usefixtures("no_collector")
def test_exception_of_a_stream_is_in_no_cycle() -> None:
    class Broken(Exception):
        pass

    class Breaking(Stream):
        def __next__(self) -> object:
            raise Broken

    def caught(step: Callable[[], object]) -> Any:
        try:
            step()
        except Broken as error:
            return weakref.ref(error)
        raise AssertionError("expected an error")

    stream = clew.wrap_stream(Breaking())
    assert is_gone(caught(lambda: next(stream)))


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="elsewhere nothing goes when it is dropped")
def test_stream_of_no_generator_is_dropped_in_its_context() -> None:
    seen: List[object] = []

    class Noting(Stream):
        def __del__(self) -> None:
            seen.append(look())

    streams = [Context().run(lambda: (user.set("ada"), clew.wrap_stream(Noting()))[1])]
    reference = weakref.ref(streams[0])
    streams.clear()
    assert is_gone(reference)
    assert seen == ["ada"]
