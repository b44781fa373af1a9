"""
T05: what a worker has of its own: another job's leavings, the initializer, an idle worker.
"""

from __future__ import annotations

import subprocess
import sys
import weakref
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Type

import pytest

import clew
from clew import ContextThreadPoolExecutor
from clew.executors import _submitting
from tests.edges._threads import BARE, DEADLINE, Value, in_empty_context, is_gone, nothing, settle, user

if TYPE_CHECKING:
    from concurrent.futures import Executor


def base_context_of_worker(pool: Executor) -> dict[Any, Any]:
    """Return what the worker's own context holds, seen from beneath the job's."""
    seen: list[Context] = []
    # A plain callback of a plain future runs in the worker's own context.
    super_submit = BARE.submit
    super_submit(pool, lambda: seen.append(copy_context())).result(DEADLINE)  # type: ignore[arg-type]
    return dict(seen[0])


def test_bare_worker_keeps_what_a_job_set() -> None:
    def scenario() -> object:
        with BARE(1) as pool:
            pool.submit(user.set, "left behind").result(DEADLINE)
            return pool.submit(user.get).result(DEADLINE)

    assert in_empty_context(scenario) == "left behind"


def test_worker_keeps_nothing_that_a_job_set() -> None:
    def scenario() -> object:
        user.set("ada")
        with ContextThreadPoolExecutor(1) as pool:
            pool.submit(user.set, "left behind").result(DEADLINE)
            assert base_context_of_worker(pool) == {}
            return pool.submit(user.get).result(DEADLINE)

    assert in_empty_context(scenario) == "ada"


def initial_value(pool_class: Type[Executor]) -> object:
    found: list[object] = []
    user.set("ada")
    pool: Any = pool_class
    with pool(1, initializer=lambda: found.append(user.get())) as workers:
        workers.submit(nothing).result(DEADLINE)
    return found[0]


def test_initializer_starts_in_an_empty_context() -> None:
    assert in_empty_context(initial_value, ContextThreadPoolExecutor) == "nobody"


@pytest.mark.skipif(not getattr(sys.flags, "thread_inherit_context", 0), reason="needs -X thread_inherit_context=1")
def test_bare_initializer_inherits_who_started_the_worker() -> None:
    assert in_empty_context(initial_value, BARE) == "ada"


def test_worker_started_by_one_job_shows_nothing_of_it_to_the_next() -> None:
    def start_worker(pool: Executor) -> None:
        user.set("first")
        pool.submit(nothing).result(DEADLINE)

    with ContextThreadPoolExecutor(1) as pool:
        in_empty_context(start_worker, pool)
        assert base_context_of_worker(pool) == {}
        assert in_empty_context(lambda: pool.submit(user.get).result(DEADLINE)) == "nobody"


def test_worker_of_a_traced_job_gives_the_next_job_no_parent() -> None:
    def traced(pool: Executor) -> None:
        with clew.trace("request"):
            pool.submit(clew.traceable(nothing)).result(DEADLINE)

    with clew.record() as runs, ContextThreadPoolExecutor(1) as pool:
        in_empty_context(traced, pool)
        in_empty_context(pool.submit, clew.traceable(nothing)).result(DEADLINE)
    runs.assert_tree("request\n  nothing\nnothing")


@pytest.mark.usefixtures("no_collector")
def test_idle_worker_keeps_no_argument_result_or_value() -> None:
    def scenario(pool: Executor) -> list[weakref.ref[Value]]:
        value, argument = Value(), Value()
        user.set(value)
        result = pool.submit(lambda _: Value(), argument).result(DEADLINE)
        return [weakref.ref(value), weakref.ref(argument), weakref.ref(result)]

    with ContextThreadPoolExecutor(1) as pool:
        references = in_empty_context(scenario, pool)
        settle(pool)
        assert [is_gone(reference) for reference in references] == [True, True, True]


def test_worker_is_empty_also_where_somebody_instruments_submit(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[object] = []
    native = BARE.submit

    def instrumented(self: Any, fn: Any, *args: Any, **kwargs: Any) -> Any:
        jobs.append((fn, user.get()))
        return native(self, fn, *args, **kwargs)

    monkeypatch.setattr(BARE, "submit", instrumented)
    with ContextThreadPoolExecutor(1) as pool:
        test_worker_started_by_one_job_shows_nothing_of_it_to_the_next()
        token = user.set("ada")
        future = pool.submit(user.get)
        assert future.result(DEADLINE) == "ada"
        user.reset(token)
    # The instrumentation saw the job, in the submitter's own context.
    assert jobs[-1][1] == "ada"  # type: ignore[index]
    assert type(future).__name__ == "ContextFuture"


def test_instrumentation_that_came_before_clew_sees_every_job() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor as Pool\nimport functools\nnative, seen = Pool.submit, []\n"
        "@functools.wraps(native)\ndef submit(self, *args, **kwargs):\n    seen.append(args)\n"
        "    return native(self, *args, **kwargs)\nPool.submit = submit\n"
        "import clew\nwith clew.ContextThreadPoolExecutor(1) as pool:\n    pool.submit(int).result(30)\n"
        "    Pool.submit = native\n    pool.submit(int).result(30)\nprint(len(seen))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout.strip() == b"1"


def test_worker_is_empty_also_on_a_release_whose_inside_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_submitting, "_IS_KNOWN", False)
    test_worker_started_by_one_job_shows_nothing_of_it_to_the_next()
    test_worker_keeps_nothing_that_a_job_set()
