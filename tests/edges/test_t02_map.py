"""
T02: jobs handed to a thread pool by `map`, from iterables of every kind.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Any, Callable, Iterable, Iterator, List, Type

import pytest

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import BARE, DEADLINE, Value, in_empty_context, is_gone, nothing, reset_inside, settle, user

if TYPE_CHECKING:
    from concurrent.futures import Executor


class Unsized:
    """Be iterable and nothing else."""

    def __iter__(self) -> Iterator[int]:
        return iter([1, 2, 3])


def generator() -> Iterator[int]:
    yield from (1, 2, 3)


ITERABLES: dict[str, Callable[[], tuple[Iterable[Any], ...]]] = {
    "list": lambda: ([1, 2, 3],),
    "generator": lambda: (generator(),),
    "unsized": lambda: (Unsized(),),
    "zip": lambda: (zip("abc", "def"),),
    "several": lambda: ([1, 2, 3], "abc", generator()),
    "uneven": lambda: ([1, 2, 3, 4], "abc"),
    "empty": lambda: ([],),
    "none": lambda: (),
}


def seen(*args: object) -> tuple[Any, ...]:
    return (user.get(), *args)


def users_seen(pool_class: Type[Executor], name: str) -> list[object]:
    with pool_class(2) as pool:
        user.set("someone else")
        list(pool.map(nothing, range(4)))
        user.set("ada")
        return [row[0] for row in pool.map(seen, *ITERABLES[name]())]


@pytest.mark.parametrize("name", [name for name in ITERABLES if name not in ("empty", "none")])
def test_bare_map_loses_the_value(name: str) -> None:
    assert set(in_empty_context(users_seen, BARE, name)) != {"ada"}


@pytest.mark.parametrize("name", ITERABLES)
@pytest.mark.parametrize("buffersize", [None, 1, 2, 50])
def test_map_carries_the_value_and_gives_what_the_builtin_gives(name: str, buffersize: int | None) -> None:
    def scenario() -> list[tuple[Any, ...]]:
        user.set("ada")
        with ContextThreadPoolExecutor(2) as pool:
            return list(pool.map(seen, *ITERABLES[name](), buffersize=buffersize))

    with_builtin: List[Any] = [("ada", *args) for args in zip(*ITERABLES[name]())]
    assert in_empty_context(scenario) == with_builtin


def test_bare_map_splits_the_trace_and_ours_keeps_it_whole() -> None:
    def roots(pool_class: Type[Executor]) -> int:
        with clew.record() as runs, pool_class(1) as pool:
            list(pool.map(nothing, [0]))
            with clew.trace("request"):
                list(pool.map(clew.traceable(seen), range(3)))
        return len(runs.roots)

    assert in_empty_context(roots, BARE) == 4
    assert in_empty_context(roots, ContextThreadPoolExecutor) == 1


def test_map_lets_a_token_be_reset_in_each_job_and_shows_no_job_another() -> None:
    def job(_: int) -> object:
        before = reset_inside()
        user.set("left behind")
        return before

    def scenario() -> list[object]:
        user.set("ada")
        with ContextThreadPoolExecutor(2) as pool:
            found = list(pool.map(job, range(10)))
        assert user.get() == "ada"
        return found

    assert in_empty_context(scenario) == ["ada"] * 10


def test_map_captures_once_even_if_the_iterable_changes_the_context() -> None:
    def changing() -> Iterator[int]:
        for number in range(4):
            user.set(f"changed {number}")
            yield number

    def scenario() -> list[object]:
        user.set("at map")
        with ContextThreadPoolExecutor(2) as pool:
            found = [row[0] for row in pool.map(seen, changing())]
        # As with the bare pool, the iterable is the caller's own code and runs in its context.
        assert user.get() == "changed 3"
        return found

    assert in_empty_context(scenario) == ["at map"] * 4


def test_map_gives_jobs_that_run_at_once_a_copy_each() -> None:
    meeting = threading.Barrier(3, timeout=DEADLINE)

    def job(name: str) -> object:
        user.set(name)
        meeting.wait()
        return user.get()

    with ContextThreadPoolExecutor(3) as pool:
        assert list(pool.map(job, "abc")) == ["a", "b", "c"]


@pytest.mark.usefixtures("no_collector")
def test_map_keeps_no_value_alive_once_its_iterator_is_exhausted() -> None:
    def scenario(pool: Executor, buffered: bool) -> tuple[object, weakref.ref[Value]]:
        value = Value()
        user.set(value)
        results = pool.map(nothing, range(3), **({"buffersize": 2} if buffered else {}))
        assert list(results) == [None] * 3
        return results, weakref.ref(value)

    with ContextThreadPoolExecutor(1) as pool:
        for buffered in (False, True):
            results, reference = in_empty_context(scenario, pool, buffered)
            settle(pool)
            assert results is not None  # the spent iterator is still here
            assert is_gone(reference)
