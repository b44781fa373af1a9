"""
T03: `map(buffersize=...)` over an endless iterable: the context of the `map` call for every item.
"""

from __future__ import annotations

import itertools
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Iterator, Type

import pytest

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import BARE, DEADLINE, in_empty_context, is_gone, reset_inside, user

if TYPE_CHECKING:
    from concurrent.futures import Executor


def first_users(pool_class: Type[Executor]) -> list[object]:
    with pool_class(2) as pool:
        user.set("at map")
        lazy: Any = pool.map
        results = lazy(lambda _: user.get(), itertools.count(), buffersize=2)
        found = []
        for number in range(6):
            user.set(f"later {number}")  # the consumer moves on; the jobs must not
            found.append(next(results))
        results.close()
        return found


def test_bare_map_is_eager_or_loses_the_value() -> None:
    if sys.version_info >= (3, 14):
        assert in_empty_context(first_users, BARE) != ["at map"] * 6
    else:
        with pytest.raises(TypeError, match="buffersize"):
            in_empty_context(first_users, BARE)


def test_map_gives_every_item_the_context_of_the_call() -> None:
    assert in_empty_context(first_users, ContextThreadPoolExecutor) == ["at map"] * 6


def test_map_nests_late_items_where_map_was_called() -> None:
    with clew.record() as runs, ContextThreadPoolExecutor(1) as pool:
        with clew.trace("asked here"):
            results = pool.map(clew.traceable(abs), itertools.count(), buffersize=1)
        with clew.trace("read there"):
            next(results)
            next(results)
        results.close()  # type: ignore[attr-defined]
    assert len(runs.find(name="asked here").children) >= 2
    assert not runs.find(name="read there").children


def test_map_lets_late_items_reset_tokens() -> None:
    def scenario() -> list[object]:
        user.set("ada")
        with ContextThreadPoolExecutor(2) as pool:
            return list(pool.map(lambda _: reset_inside(), range(8), buffersize=3))

    assert in_empty_context(scenario) == ["ada"] * 8


@pytest.mark.parametrize("buffersize", [1, 2, 3, 7])
def test_map_reads_no_further_ahead_than_the_buffer(buffersize: int) -> None:
    read = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            read.append(number)
            yield number

    with ContextThreadPoolExecutor(2) as pool:
        results = pool.map(int, numbers(), buffersize=buffersize)
        assert len(read) == buffersize
        for taken in range(1, 6):
            next(results)
            # 3.14's own: the next job is submitted before the result is waited for.
            assert len(read) == buffersize + taken
        results.close()  # type: ignore[attr-defined]


def test_map_reads_the_iterable_on_the_consumers_thread() -> None:
    threads = set()

    def numbers() -> Iterator[int]:
        for number in range(6):
            threads.add(threading.get_ident())
            yield number

    with ContextThreadPoolExecutor(2) as pool:
        assert list(pool.map(int, numbers(), buffersize=2)) == list(range(6))
    assert threads == {threading.get_ident()}


def test_map_closed_early_cancels_what_has_not_started() -> None:
    go, started = threading.Event(), []

    def job(number: int) -> int:
        started.append(number)
        if number:
            go.wait(DEADLINE)
        return number

    with ContextThreadPoolExecutor(1) as pool:
        results = pool.map(job, itertools.count(), buffersize=4)
        assert next(results) == 0
        results.close()  # type: ignore[attr-defined]
        go.set()
    assert set(started) <= {0, 1}


def test_map_iterator_keeps_no_executor_alive() -> None:
    pool = ContextThreadPoolExecutor(1)
    results = pool.map(int, itertools.count(), buffersize=2)
    pool.shutdown()
    reference = weakref.ref(pool)
    del pool
    assert is_gone(reference)
    # What was submitted is delivered; with the executor gone there is nobody to submit more.
    assert list(results) == [0, 1]
