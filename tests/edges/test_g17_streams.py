"""
G17: a stream object with attributes and a `with` of its own, read elsewhere and closed early.

The streams of real SDKs are in `tests/foreign/test_streams.py`.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterator, List, Tuple

import pytest

import clew
from tests.context._loops import run_on_asyncio
from tests.edges._threads import DEADLINE, FINALISED_BY, as_ada, in_empty_context, is_gone, user

if TYPE_CHECKING:
    from pathlib import Path

Wrap = Callable[[Any], Any]


def bare(stream: Any) -> Any:
    return stream


class Chunks:
    """Be like the stream of an SDK: a generator of its own does the reading, and its end closes what is read."""

    def __init__(self) -> None:
        self.status = 200
        self.seen: List[Tuple[str, object]] = []
        self._chunks = self._read()

    def _note(self, what: str) -> None:
        self.seen.append((what, user.get()))
        user.set("the stream")

    def _read(self) -> Iterator[int]:
        for number in range(3):
            self._note("read")
            yield number

    def __iter__(self) -> Iterator[int]:
        self._note("iter")
        return self

    def __next__(self) -> int:
        return next(self._chunks)

    def __enter__(self) -> Chunks:
        self._note("enter")
        return self

    def __exit__(self, *_: object) -> None:
        self._note("exit")

    def close(self) -> None:
        self._note("close")


class AsyncChunks:
    """Be the same for `async`."""

    def __init__(self) -> None:
        self.status = 200
        self.seen: List[Tuple[str, object]] = []
        self._chunks = self._read()

    def _note(self, what: str) -> None:
        self.seen.append((what, user.get()))
        user.set("the stream")

    async def _read(self) -> AsyncIterator[int]:
        for number in range(3):
            self._note("read")
            await asyncio.sleep(0)
            yield number

    async def __aiter__(self) -> AsyncIterator[int]:
        self._note("iter")
        async for number in self._chunks:
            yield number

    async def __anext__(self) -> int:
        return await self._chunks.__anext__()

    async def __aenter__(self) -> AsyncChunks:
        self._note("enter")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._note("exit")

    async def aclose(self) -> None:
        self._note("close")


def in_another_thread(fn: Callable[[], Any]) -> Any:
    """Return what a call in another thread returns, and who is the user there then."""

    def job() -> Tuple[Any, object]:
        user.set("someone else")
        return fn(), user.get()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(in_empty_context, job).result(DEADLINE)


def seen_by(wrap: Wrap) -> Tuple[List[Tuple[str, object]], object]:
    """Return what a stream sees that is wrapped in a request, and read when that has returned; and what is left."""
    plain = Chunks()
    stream = as_ada(lambda: wrap(plain))

    def read() -> None:
        with stream as entered:
            for number in entered:
                if number == 1:
                    break
        entered.close()

    _, left = in_another_thread(read)
    return plain.seen, left


def test_bare_stream_sees_its_consumers_values_and_leaves_it_its_own() -> None:
    seen, left = seen_by(bare)
    assert seen[0] == ("enter", "someone else")
    assert left == "the stream"


def test_stream_sees_the_values_of_whoever_wrapped_it_and_leaves_nothing() -> None:
    seen, left = seen_by(clew.wrap_stream)
    assert [what for what, _ in seen] == ["enter", "iter", "read", "read", "exit", "close"]
    assert [who for _, who in seen] == ["ada"] + ["the stream"] * 5
    assert left == "someone else"


def test_stream_keeps_its_own_values_across_threads() -> None:
    plain = Chunks()
    stream = as_ada(lambda: clew.wrap_stream(plain))
    assert [in_another_thread(lambda: next(stream)) for _ in range(3)] == [(n, "someone else") for n in range(3)]
    assert [who for _, who in plain.seen] == ["ada", "the stream", "the stream"]


async def async_seen_by(wrap: Wrap) -> Tuple[List[Tuple[str, object]], object]:
    plain = AsyncChunks()
    user.set("ada")
    stream = wrap(plain)

    async def read() -> object:
        user.set("someone else")
        async with stream as entered:
            async for number in entered:
                if number == 1:
                    break
        await entered.aclose()
        return user.get()

    left = await asyncio.get_running_loop().create_task(read())
    return plain.seen, left


def test_bare_async_stream_sees_its_consumers_values_and_leaves_it_its_own() -> None:
    seen, left = in_empty_context(run_on_asyncio, lambda: async_seen_by(bare))
    assert seen[0] == ("enter", "someone else")
    assert left == "the stream"


def test_async_stream_sees_the_values_of_whoever_wrapped_it_and_leaves_nothing() -> None:
    seen, left = in_empty_context(run_on_asyncio, lambda: async_seen_by(clew.wrap_stream))
    assert [what for what, _ in seen] == ["enter", "iter", "read", "read", "exit", "close"]
    assert [who for _, who in seen] == ["ada"] + ["the stream"] * 5
    assert left == "someone else"


@pytest.mark.parametrize("make", [Chunks, AsyncChunks])
def test_stream_object_is_what_it_was(make: Any) -> None:
    plain = make()
    stream = clew.wrap_stream(plain)
    assert isinstance(stream, make)
    assert stream.status == 200
    stream.status = 404
    assert plain.status == 404
    assert not hasattr(stream, "headers")
    assert dir(stream) == dir(plain)
    assert clew.unwrap(stream) is plain
    assert clew.wrap_stream(stream) is stream
    assert hasattr(stream, "__enter__") == hasattr(plain, "__enter__")
    assert hasattr(stream, "__aenter__") == hasattr(plain, "__aenter__")


class Counting(Chunks):
    """Count, in the class, how often a stream is closed: by a call, a block, or when it goes."""

    closed: List[Tuple[str, object]] = []

    def __init__(self) -> None:
        super().__init__()
        # No reference back, so that it goes when it is dropped.
        self._chunks = iter(range(3))

    def __exit__(self, *_: object) -> None:
        self.closed.append(("exit", user.get()))

    def close(self) -> None:
        self.closed.append(("close", user.get()))

    def __del__(self) -> None:
        self.closed.append(("del", user.get()))


class CountingByGenerator(Counting):
    """Be iterated over by a generator, whose frame holds the last reference when it is left half-way."""

    def __iter__(self) -> Iterator[int]:
        for number in range(3):
            self.status = number
            yield number


def is_dropped(box: List[Any]) -> None:
    stream = box.pop()
    next(stream)


def is_left_by_a_break(box: List[Any]) -> None:
    for _ in box.pop():
        break


def is_closed(box: List[Any]) -> None:
    stream = box.pop()
    stream.close()


def is_closed_at_once(box: List[Any]) -> None:
    box.pop().close()


def is_closed_twice(box: List[Any]) -> None:
    stream = box.pop()
    stream.close()
    stream.close()


def has_a_block(box: List[Any]) -> None:
    with box.pop() as stream:
        next(stream)


ENDS = [is_dropped, is_left_by_a_break, is_closed, is_closed_at_once, is_closed_twice, has_a_block]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.skipif(sys.implementation.name == "pypy", reason="needs objects that go when they are dropped")
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("make", [Counting, CountingByGenerator])
def test_stream_is_closed_as_the_bare_one_is_but_in_its_own_context(make: Any, end: Any) -> None:
    found = []
    for wrap in (bare, clew.wrap_stream):
        Counting.closed = []
        box = [as_ada(lambda wrap=wrap: wrap(make()))]  # type: ignore[misc]
        in_another_thread(lambda box=box: end(box))  # type: ignore[misc]
        found.append(Counting.closed)
    without, with_clew = found
    assert [how for how, _ in with_clew] == [how for how, _ in without]
    assert {who for _, who in without} <= {*FINALISED_BY, "the stream"}  # which leaks from the bare one
    assert {who for _, who in with_clew} <= {"ada", "the stream"}


class Raw(io.RawIOBase):
    """Be what a file reads from, and note who reads."""

    def __init__(self, path: Path) -> None:
        self._raw = io.FileIO(str(path))
        self.seen: List[object] = []
        self.closed_by: List[object] = []

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self.seen.append(user.get())
        return self._raw.readinto(buffer) or 0

    def close(self) -> None:
        if not self.closed:
            self.closed_by.append(user.get())
            self._raw.close()
        super().close()


@pytest.mark.parametrize(("wrap", "reader"), [(bare, "someone else"), (clew.wrap_stream, "ada")])
def test_file_is_read_in_the_context_of_whoever_wrapped_it(wrap: Wrap, reader: str, tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\n", encoding="ascii")
    raw = Raw(path)
    file = as_ada(lambda: wrap(io.TextIOWrapper(io.BufferedReader(raw), encoding="ascii")))

    def read() -> List[str]:
        with file:
            return list(file)

    assert in_another_thread(read) == (["one\n", "two\n"], "someone else")
    assert set(raw.seen) == {reader}
    assert raw.closed_by == [reader]
    assert file.closed


def test_file_is_the_file_it_was(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo\nthree\n", encoding="ascii")
    before = dict(copy_context())
    with clew.wrap_stream(open(path, encoding="ascii")) as file:
        assert isinstance(file, io.TextIOWrapper)
        assert file.name == str(path)
        assert file.encoding == "ascii"
        assert os.fstat(file.fileno()).st_size == 14
        assert next(file) == "one\n"
        assert file.readline() == "two\n"
        for line in file:
            assert line == "three\n"
        assert file.seek(0) == 0
        assert next(iter(file)) == "one\n"
    assert file.closed
    with pytest.raises(ValueError, match="closed file"):
        next(file)
    assert dict(copy_context()) == before


@pytest.mark.usefixtures("no_collector")
def test_dropped_stream_keeps_nothing_alive() -> None:
    class Plain:
        def __iter__(self) -> Iterator[int]:
            return iter([1, 2])

    def use() -> Any:
        plain = Plain()
        stream = clew.wrap_stream(plain)
        for _ in stream:
            break
        return weakref.ref(plain)

    assert is_gone(use())
