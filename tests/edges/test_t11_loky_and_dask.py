"""
T11 with two executors from PyPI that pickle each job: wrapped, they do all that they do bare, but carry nothing yet.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from concurrent.futures import Executor, Future, as_completed, wait
from contextvars import Context
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, NamedTuple

import pytest

if sys.implementation.name == "pypy":
    pytest.skip("needs cloudpickle, which PyPy cannot import yet", allow_module_level=True)

import loky
from distributed import Client, LocalCluster

import clew
from tests.edges._elsewhere import describe, fail, process, read_line, value_of_user
from tests.edges._threads import DEADLINE, in_empty_context, reset_inside, user

if TYPE_CHECKING:
    from pathlib import Path


class Kind(NamedTuple):
    make: Callable[[], Any]
    # What a job sees of `user`, which is "starter" where the workers, or what serves for them, were started.
    seen: str


def open_loky() -> Iterator[Kind]:
    def make() -> Any:
        return loky.get_reusable_executor(max_workers=1, timeout=DEADLINE)

    yield Kind(make, seen="nobody")
    make().shutdown(kill_workers=True)


def open_dask() -> Iterator[Kind]:
    # In this very process: what does not arrive was lost by pickling.
    cluster = LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    with cluster, Client(cluster, set_as_default=False) as client:
        yield Kind(client.get_executor, seen="starter")
    # On a slow machine Dask gives up waiting while it closes. asyncio logs that when the future is collected. Collect
    # it here, where nobody listens, and not in the last test of all, which would fail.
    logger = logging.getLogger("asyncio")
    was_disabled, logger.disabled = logger.disabled, True
    gc.collect()
    logger.disabled = was_disabled


@pytest.fixture(scope="module", params=[open_loky, open_dask])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    starter = Context()
    starter.run(user.set, "starter")
    kinds = request.param()
    kind: Kind = starter.run(next, kinds)
    starter.run(lambda: kind.make().submit(process).result(DEADLINE))
    yield kind
    starter.run(list, kinds)


def wrap(executor: Executor) -> Executor:
    return clew.wrap_executor(executor)


def as_it_is(executor: Executor) -> Executor:
    return executor


both = pytest.mark.parametrize("treat", [as_it_is, wrap])


def as_ada(fn: Callable[..., Any], *args: Any) -> Any:
    def scenario() -> Any:
        user.set("ada")
        return fn(*args)

    return in_empty_context(scenario)


@both
def test_outcomes_are_the_same(kind: Kind, treat: Callable[[Executor], Executor]) -> None:
    executor = treat(kind.make())
    assert executor.submit(describe, 1, *"ab", two=2).result(DEADLINE) == ((1, "a", "b"), {"two": 2})
    assert list(executor.map(abs, [-1, -2, -3])) == [1, 2, 3]
    assert list(executor.map(pow, [1, 2, 3], [3, 2, 1], timeout=DEADLINE, chunksize=2)) == [1, 4, 3]
    with pytest.raises(LookupError, match="lost"):
        executor.submit(fail, "lost").result(DEADLINE)
    with pytest.raises(LookupError, match="lost in map"):
        list(executor.map(fail, ["lost in map"]))
    with pytest.raises(TypeError):
        executor.submit(fail).result(DEADLINE)


@both
def test_futures_can_be_waited_for(kind: Kind, treat: Callable[[Executor], Executor]) -> None:
    executor = treat(kind.make())
    futures = [executor.submit(abs, number) for number in (-1, -2, -3)]
    assert {future.result() for future in as_completed(futures, DEADLINE)} == {1, 2, 3}
    assert wait(futures, DEADLINE) == (set(futures), set())
    assert all(isinstance(future, type(kind.make().submit(abs, 0))) for future in futures)


@both
def test_job_that_was_pickled_does_not_see_its_submitter(kind: Kind, treat: Callable[[Executor], Executor]) -> None:
    def scenario() -> List[Any]:
        executor = treat(kind.make())
        return [executor.submit(value_of_user).result(DEADLINE), *executor.map(value_of_user, [0, 1])]

    assert as_ada(scenario) == [kind.seen] * 3


def test_job_runs_where_the_kind_says(kind: Kind) -> None:
    is_here = clew.wrap_executor(kind.make()).submit(process).result(DEADLINE) == os.getpid()
    assert is_here == (kind.seen == "starter")


def run_callback(executor: Executor, gate: Path, callback: Callable[[Future[Any]], object]) -> None:
    """Have `callback` called for a future that is pending when it is added, which is while `user` is "ada"."""
    os.mkfifo(gate)
    file = os.open(gate, os.O_RDWR)  # opened for both, it waits for nobody
    try:
        user.set("submitter")
        future = executor.submit(read_line, str(gate))
        user.set("ada")
        future.add_done_callback(callback)
        # Callbacks are called in order, this one in the thread of the last: then all have been.
        seen: Future[None] = Future()
        future.add_done_callback(lambda _: seen.set_result(None))
        user.set("later")
        os.write(file, b"go\n")
        assert future.result(DEADLINE) == "go\n"
        seen.result(DEADLINE)
    finally:
        os.close(file)


def test_bare_callback_does_not_see_who_registered_it(kind: Kind, tmp_path: Path) -> None:
    seen: List[object] = []
    in_empty_context(run_callback, kind.make(), tmp_path / "gate", lambda _: seen.append(user.get()))
    assert len(seen) == 1
    assert seen != ["ada"]


def test_callback_sees_who_registered_it(kind: Kind, tmp_path: Path) -> None:
    seen: List[object] = []
    executor = clew.wrap_executor(kind.make())
    in_empty_context(run_callback, executor, tmp_path / "gate", lambda _: seen.append(reset_inside()))
    assert seen == ["ada"]


def test_callback_of_a_future_that_is_done_changes_nobodys_context(kind: Kind) -> None:
    def scenario() -> object:
        future = clew.wrap_executor(kind.make()).submit(abs, -1)
        future.result(DEADLINE)
        future.add_done_callback(lambda _: user.set("leaked"))
        return user.get()

    assert as_ada(scenario) == "ada"


def test_wrapped_one_passes_for_its_kind(kind: Kind) -> None:
    executor = kind.make()
    wrapped = clew.wrap_executor(executor)
    assert isinstance(wrapped, type(executor))
    assert clew.unwrap(wrapped) is executor
    assert clew.wrap_executor(wrapped) is wrapped
    assert repr(executor) in repr(wrapped)


def test_shutdown_is_that_of_the_bare_one(kind: Kind) -> None:
    errors = []
    for treat in (as_it_is, wrap):
        with treat(kind.make()) as executor:
            future = executor.submit(abs, -1)
        assert future.result(0) == 1
        with pytest.raises(RuntimeError) as caught:
            executor.submit(abs, -1)
        errors.append((caught.type, str(caught.value)))
    assert errors[0] == errors[1]
