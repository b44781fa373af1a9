"""
T09: the threads that a `multiprocessing.pool.ThreadPool` has of its own: what they start with, and what they keep.
"""

from __future__ import annotations

import sys
import threading
import weakref
from contextvars import Context, copy_context
from multiprocessing.pool import ThreadPool
from typing import Any, Dict, Iterator, List

import pytest

from clew.executors.multiprocessing_pool import ContextThreadPool
from tests.edges._pool_ways import ITEMS, settle, ways
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone, nothing, user

counted = pytest.mark.skipif(sys.implementation.name != "cpython", reason="needs CPython, where objects are counted")
inherits = bool(getattr(sys.flags, "thread_inherit_context", 0))


def initial_values(pool_class: Any) -> List[object]:
    """Return what the initializer sees in a first worker, and in the one that takes its place."""
    found: List[object] = []
    user.set("ada")
    with pool_class(1, lambda: found.append(user.get())) as pool:
        [worker] = pool._pool
        pool._inqueue.put(None)  # which ends a worker
        worker.join(DEADLINE)
        pool._change_notifier.put(None)
        pool.apply_async(nothing).get(DEADLINE)
    return found


def test_initializer_starts_in_an_empty_context() -> None:
    assert in_empty_context(initial_values, ContextThreadPool) == ["nobody"] * 2


def test_bare_initializer_starts_in_an_empty_context_unless_threads_inherit() -> None:
    assert in_empty_context(initial_values, ThreadPool) == ["ada" if inherits else "nobody"] * 2


def contexts_of_threads(pool: Any) -> List[Dict[Any, Any]]:
    """Return what a worker, the result handler and the task handler have in their own contexts, beneath any job's."""
    seen: List[Context] = []

    def note(*args: object) -> None:
        seen.append(copy_context())

    def tasks() -> Iterator[Any]:
        note()
        yield from ()

    pool._taskqueue.put((tasks(), None))
    ThreadPool.apply_async(pool, note, callback=note).get(DEADLINE)
    assert len(seen) == 3
    return [dict(context) for context in seen]


@ways
def test_threads_of_the_pool_have_nothing_of_a_job_or_of_who_made_it(way: Any) -> None:
    def job(number: object) -> None:
        user.set("of the job")

    def scenario() -> ThreadPool:
        user.set("ada")
        pool = ContextThreadPool(1)
        way(pool, job, (user.set(number) and number for number in ITEMS))
        pool.apply_async(nothing, callback=job).get(DEADLINE)
        return pool

    with in_empty_context(scenario) as pool:
        assert in_empty_context(contexts_of_threads, pool) == [{}, {}, {}]
        assert in_empty_context(pool.apply, user.get) == "nobody"


# memory


@ways
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("pool_class", [ThreadPool, ContextThreadPool])
def test_idle_pool_keeps_no_argument_result_or_value(pool_class: Any, way: Any) -> None:
    def scenario(pool: ThreadPool) -> List[weakref.ref[Value]]:
        value, argument = Value(), Value()
        user.set(value)
        [result] = way(pool, lambda _: Value(), [argument])
        return [weakref.ref(value), weakref.ref(argument), weakref.ref(result)]

    with pool_class(1) as pool:
        references = in_empty_context(scenario, pool)
        settle(pool)
        assert [is_gone(reference) for reference in references] == [True, True, True]


# PyPy's `Context.run` has a frame, which is in the traceback and has the context.
@counted
@ways
@pytest.mark.usefixtures("no_collector")
def test_exception_of_a_job_keeps_no_value_of_its_context(way: Any) -> None:
    errors = []

    def give_value() -> weakref.ref[Value]:
        value = Value()
        user.set(value)
        return weakref.ref(value)

    def job(item: object) -> None:
        raise LookupError(item)

    def scenario(pool: ThreadPool) -> None:
        with pytest.raises(LookupError) as caught:
            way(pool, job, ITEMS)
        errors.append(caught.value)

    with ContextThreadPool(1) as pool:
        context = Context()
        reference = context.run(give_value)
        context.run(scenario, pool)
        del context
        settle(pool)
        assert is_gone(reference)
    assert len(errors) == 1


@counted
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("chunksize", [1, 2])
def test_waiting_for_the_next_item_keeps_nothing_that_the_last_job_set(chunksize: int) -> None:
    go, is_collected = threading.Event(), threading.Event()

    def numbers() -> Iterator[int]:
        yield from range(2)
        assert go.wait(DEADLINE)

    def job(number: int) -> weakref.ref[Value]:
        value = Value()
        user.set(value)
        return weakref.ref(value, lambda _: is_collected.set() if number == 1 else None)

    with ContextThreadPool(1) as pool:
        results = pool.imap(job, numbers(), chunksize)
        references = [next(results), next(results)]
        assert is_collected.wait(DEADLINE)
        assert [reference() for reference in references] == [None, None]
        go.set()
        assert list(results) == []
