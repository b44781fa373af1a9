"""
T09: the callbacks of `multiprocessing.pool.ThreadPool`, which run on a thread of the pool.
"""

from __future__ import annotations

import sys
import weakref
from multiprocessing.pool import ThreadPool
from typing import Any, List, Type

import pytest

import clew
from clew.executors.multiprocessing_pool import ContextThreadPool
from tests.edges._pool_ways import Fn, settle, starts
from tests.edges._threads import DEADLINE, Value, in_empty_context, is_gone, nothing, reset_inside, user

kinds = pytest.mark.parametrize(("fn", "kind"), [(abs, "callback"), ((lambda _: 1 / 0), "error_callback")])


def call_back(pool_class: Type[ThreadPool], start: Any, fn: Fn, **callbacks: Any) -> object:
    """Have a callback registered by "ada"; return the user of the caller after it was called."""

    def scenario(pool: ThreadPool) -> object:
        user.set("ada")
        result = start(pool, fn, **callbacks)
        user.set("later")
        result.wait(DEADLINE)
        return user.get()

    with in_empty_context(pool_class, 1) as pool:
        return in_empty_context(scenario, pool)


@starts
@kinds
def test_bare_callback_does_not_see_who_registered_it(start: Any, fn: Fn, kind: str) -> None:
    seen: List[object] = []
    call_back(ThreadPool, start, fn, **{kind: lambda _: seen.append(user.get())})
    assert seen == ["nobody"]


@starts
@kinds
def test_callback_sees_who_registered_it_and_changes_nobodys_context(start: Any, fn: Fn, kind: str) -> None:
    seen: List[object] = []

    def note(outcome: object) -> None:
        seen.append(reset_inside())
        user.set("leaked")

    for _ in range(2):
        assert call_back(ContextThreadPool, start, fn, **{kind: note}) == "later"
    assert seen == ["ada", "ada"]


@starts
@kinds
def test_one_of_two_callbacks_is_called_with_the_outcome(start: Any, fn: Fn, kind: str) -> None:
    def called(pool_class: Any) -> List[str]:
        found: List[str] = []
        note = {"callback": lambda v: found.append(f"value {v!r}"), "error_callback": lambda e: found.append(f"{e!r}")}
        call_back(pool_class, start, fn, **note)
        return found

    assert called(ContextThreadPool) == called(ThreadPool)
    assert len(called(ContextThreadPool)) == 1


@starts
def test_callback_nests_where_it_was_registered(start: Any) -> None:
    def scenario(pool: ThreadPool) -> None:
        with clew.trace("request"):
            start(pool, abs, callback=clew.traceable(nothing)).wait(DEADLINE)

    with clew.record() as runs, ContextThreadPool(1) as pool:
        in_empty_context(scenario, pool)
    runs.assert_tree("request\n  nothing")


@starts
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("which", [["callback"], ["error_callback"], ["callback", "error_callback"]])
@pytest.mark.parametrize("fn", [abs, lambda _: 1 / 0])
def test_result_keeps_no_value_of_the_context_of_its_callbacks(start: Any, which: List[str], fn: Fn) -> None:
    if fn is not abs and sys.implementation.name != "cpython":
        pytest.skip("needs CPython, as PyPy's `Context.run` has a frame, which is in the traceback and has the context")

    def scenario(pool: ThreadPool) -> Any:
        value = Value()
        user.set(value)
        result = start(pool, fn, **dict.fromkeys(which, nothing))
        result.wait(DEADLINE)
        return result, weakref.ref(value)

    with ContextThreadPool(1) as pool:
        result, reference = in_empty_context(scenario, pool)
        settle(pool)
        assert result.ready()
        assert is_gone(reference)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("method", ["map_async", "starmap_async"])
def test_result_of_an_empty_iterable_which_calls_nobody_back_keeps_no_value_either(method: str) -> None:
    def scenario(pool: ThreadPool) -> Any:
        value = Value()
        user.set(value)
        return getattr(pool, method)(nothing, [], callback=found.append), weakref.ref(value)

    found: List[object] = []
    with ContextThreadPool(1) as pool:
        result, reference = in_empty_context(scenario, pool)
        settle(pool)
        assert result.get(DEADLINE) == []
        assert found == []
        assert is_gone(reference)
