"""
T01: a job handed to a thread pool by `submit`.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, Type

import pytest

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import BARE, DEADLINE, Value, in_empty_context, is_gone, nothing, reset_inside, settle, user

if TYPE_CHECKING:
    from concurrent.futures import Executor


def value_seen(pool_class: Type[Executor]) -> object:
    with pool_class(1) as pool:
        user.set("someone else")
        pool.submit(nothing).result(DEADLINE)  # whoever starts the worker is not who is asked about
        user.set("ada")
        return pool.submit(user.get).result(DEADLINE)


def roots_recorded(pool_class: Type[Executor]) -> int:
    with clew.record() as runs, pool_class(1) as pool:
        pool.submit(nothing).result(DEADLINE)
        with clew.trace("request"):
            pool.submit(traced_job).result(DEADLINE)
    return len(runs.roots)


@clew.traceable
def traced_job() -> None:
    pass


def test_bare_submit_loses_the_value_and_splits_the_trace() -> None:
    assert in_empty_context(value_seen, BARE) != "ada"
    assert in_empty_context(roots_recorded, BARE) == 2


def test_submit_carries_the_value_and_keeps_the_trace_whole() -> None:
    assert in_empty_context(value_seen, ContextThreadPoolExecutor) == "ada"
    assert in_empty_context(roots_recorded, ContextThreadPoolExecutor) == 1


def test_submit_lets_a_token_be_reset_in_the_job() -> None:
    def scenario() -> object:
        user.set("ada")
        with ContextThreadPoolExecutor(1) as pool:
            return pool.submit(reset_inside).result(DEADLINE)

    assert in_empty_context(scenario) == "ada"


def test_submit_brings_nothing_back_and_nothing_across() -> None:
    def scenario() -> None:
        user.set("ada")
        with ContextThreadPoolExecutor(1) as pool:
            pool.submit(user.set, "changed").result(DEADLINE)
            assert user.get() == "ada"
            assert pool.submit(user.get).result(DEADLINE) == "ada"

    in_empty_context(scenario)


def test_submit_captures_at_the_call_however_late_the_job_runs() -> None:
    def scenario() -> object:
        go = threading.Event()
        with ContextThreadPoolExecutor(1) as pool:
            pool.submit(go.wait, DEADLINE)
            user.set("at submit")
            future = pool.submit(user.get)
            user.set("later")
            go.set()
            return future.result(DEADLINE)

    assert in_empty_context(scenario) == "at submit"


def test_submit_gives_two_jobs_of_one_context_a_copy_each() -> None:
    meeting = threading.Barrier(2, timeout=DEADLINE)

    def job(name: str) -> object:
        user.set(name)
        meeting.wait()  # both are inside at once: one shared Context could not be entered twice
        return user.get()

    with ContextThreadPoolExecutor(2) as pool:
        assert [f.result(DEADLINE) for f in [pool.submit(job, "a"), pool.submit(job, "b")]] == ["a", "b"]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("outcome", ["returns", "raises"])
def test_submit_keeps_no_value_alive_after_the_job(outcome: str) -> None:
    def job() -> None:
        if outcome == "raises":
            raise ValueError

    def scenario(pool: Executor) -> weakref.ref[Value]:
        value = Value()
        user.set(value)
        pool.submit(job).exception(DEADLINE)
        return weakref.ref(value)

    with ContextThreadPoolExecutor(1) as pool:
        reference = in_empty_context(scenario, pool)
        settle(pool)
        assert is_gone(reference)


@pytest.mark.usefixtures("no_collector")
def test_submit_lets_a_done_future_keep_its_result_alone() -> None:
    def scenario(pool: Executor) -> tuple[object, weakref.ref[Value]]:
        value = Value()
        user.set(value)
        return pool.submit(int), weakref.ref(value)

    with ContextThreadPoolExecutor(1) as pool:
        future, reference = in_empty_context(scenario, pool)
        settle(pool)
        assert is_gone(reference)
        assert future.result(DEADLINE) == 0  # type: ignore[attr-defined]
