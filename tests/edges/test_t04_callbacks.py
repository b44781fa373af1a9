"""
T04: `Future.add_done_callback`, the future pending, done or cancelled.
"""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import Executor, Future
from typing import Any, Callable, List, Type

import pytest

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import BARE, DEADLINE, Value, in_empty_context, is_gone, nothing, reset_inside, settle, user

STATES = ("pending", "done", "failed", "cancelled before", "cancelled after")


def run_callback(pool_class: Type[Executor], state: str, callback: Callable[[Future[Any]], object]) -> None:
    """Have `callback` called for a future in the given state, registered while `user` is "ada"."""
    go = threading.Event()
    with pool_class(1) as pool:
        user.set("submitter")
        future: Future[Any]
        blocker = pool.submit(go.wait, DEADLINE) if "cancelled" in state or state == "pending" else None
        future = pool.submit((lambda: 1 / 0) if state == "failed" else nothing)
        if state in ("done", "failed"):
            future.exception(DEADLINE)
        if state == "cancelled before":
            assert future.cancel()
        user.set("ada")
        future.add_done_callback(callback)
        user.set("later")
        if state == "cancelled after":
            assert future.cancel()
        go.set()
        assert blocker is None or blocker.result(DEADLINE)


@pytest.mark.parametrize("state", ["pending", "cancelled after"])
def test_bare_callback_does_not_see_who_registered_it(state: str) -> None:
    seen: List[object] = []
    in_empty_context(run_callback, BARE, state, lambda _: seen.append(user.get()))
    assert len(seen) == 1
    assert seen != ["ada"]


@pytest.mark.parametrize("state", ["done", "failed", "cancelled before"])
def test_bare_callback_changes_the_context_of_who_registers_it(state: str) -> None:
    def scenario() -> object:
        with BARE(1) as pool:
            future = pool.submit(nothing)
            future.exception(DEADLINE)
            future.add_done_callback(lambda _: user.set("leaked"))
            return user.get()

    assert in_empty_context(scenario) == "leaked"


@pytest.mark.parametrize("state", STATES)
def test_callback_sees_who_registered_it(state: str) -> None:
    seen: List[object] = []
    in_empty_context(run_callback, ContextThreadPoolExecutor, state, lambda _: seen.append(reset_inside()))
    assert seen == ["ada"]


@pytest.mark.parametrize("state", STATES)
def test_callback_changes_nobodys_context(state: str) -> None:
    def scenario() -> object:
        run_callback(ContextThreadPoolExecutor, state, lambda _: user.set("leaked"))
        return user.get()

    assert in_empty_context(scenario) == "later"


@pytest.mark.parametrize("state", STATES)
def test_callback_nests_where_it_was_registered(state: str) -> None:
    def scenario() -> None:
        with clew.trace("request"):
            run_callback(ContextThreadPoolExecutor, state, clew.traceable(on_done))

    with clew.record() as runs:
        in_empty_context(scenario)
    runs.assert_tree("request\n  on_done")


def on_done(future: Future[Any]) -> None:
    assert future.done()


def test_callback_is_given_the_future_itself() -> None:
    given: List[object] = []
    with ContextThreadPoolExecutor(1) as pool:
        future = pool.submit(nothing)
        future.add_done_callback(given.append)
    assert given == [future]
    assert isinstance(future, Future)


def test_callback_that_raises_is_logged_as_by_the_stdlib(caplog: pytest.LogCaptureFixture) -> None:
    def fails(_: object) -> None:
        raise LookupError("in the callback")

    with ContextThreadPoolExecutor(1) as pool:
        pool.submit(nothing).add_done_callback(fails)
    assert [record.name for record in caplog.records] == ["concurrent.futures"]
    assert "in the callback" in caplog.text


@pytest.mark.usefixtures("no_collector")
def test_callback_leaves_no_value_with_the_future() -> None:
    def scenario(pool: Executor) -> tuple[Future[None], weakref.ref[Value]]:
        future = in_empty_context(pool.submit, nothing)
        value = Value()
        user.set(value)
        future.add_done_callback(nothing)
        return future, weakref.ref(value)

    with ContextThreadPoolExecutor(1) as pool:
        future, reference = in_empty_context(scenario, pool)
        settle(pool)
        assert future.done()
        assert is_gone(reference)
