"""
T12: libraries from PyPI that start threads and pools inside, whose code is not ours to change.

What `installed()` does to each class of the stdlib is not here.
"""

from __future__ import annotations

import io
import sys
import threading
from typing import Any, Callable, List

import pytest

import clew
from tests.edges._threads import DEADLINE, in_empty_context, reset_inside, user

Work = Callable[[], Any]


def with_joblib(work: Work) -> List[Any]:
    """Use a `multiprocessing.pool.ThreadPool`, which is given its later jobs by the callbacks of the first ones."""
    import joblib

    return list(joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(work)() for _ in range(12)))


def with_tqdm(work: Work) -> List[Any]:
    """Use the `map` of a `ThreadPoolExecutor`."""
    from tqdm.contrib.concurrent import thread_map

    return list(thread_map(lambda _: work(), range(3), max_workers=2, disable=True))


def with_dask(work: Work) -> List[Any]:
    """Use the `submit` of a `ThreadPoolExecutor` that dask keeps, for one graph after another."""
    import dask

    steps = [dask.delayed(work, pure=False)() for _ in range(3)]
    return list(dask.delayed(lambda *found: found)(*steps).compute(scheduler="threads", num_workers=2))


def with_rich(work: Work) -> List[Any]:
    """Use a `Thread` subclass that overrides `run`, to draw what it is given by a callback."""
    from rich.console import Console
    from rich.live import Live

    found: List[Any] = []
    was_drawn = threading.Event()
    starter = threading.current_thread()

    def renderable() -> str:
        if threading.current_thread() is not starter and not found:
            found.append(work())
            was_drawn.set()
        return ""

    with Live(get_renderable=renderable, console=Console(file=io.StringIO()), refresh_per_second=1000):
        assert was_drawn.wait(DEADLINE)
    return found


needs_cloudpickle = pytest.mark.skipif(
    sys.implementation.name == "pypy", reason="needs cloudpickle, which PyPy cannot import yet"
)
libraries = pytest.mark.parametrize(
    "library",
    [
        pytest.param(with_joblib, marks=needs_cloudpickle),
        with_tqdm,
        with_rich,
        pytest.param(with_dask, marks=needs_cloudpickle),
    ],
)


def seen_by(library: Callable[[Work], List[Any]], name: str) -> set[Any]:
    def scenario() -> set[Any]:
        user.set(name)
        found = set(library(reset_inside))
        assert user.get() == name
        return found

    return in_empty_context(scenario)


def is_whole_already(library: object) -> bool:
    if getattr(sys.flags, "thread_inherit_context", 0):
        return True
    if library is with_dask:
        from dask import threaded

        return hasattr(threaded, "contextvars")  # its latest releases carry the context themselves
    return False


@libraries
def test_library_is_whole_while_installed_and_then_as_before(library: Callable[[Work], List[Any]]) -> None:
    if not is_whole_already(library):
        assert seen_by(library, "ada") == {"nobody"}
    with clew.installed():
        assert seen_by(library, "ada") == {"ada"}
        assert seen_by(library, "grace") == {"grace"}  # also where it has kept a pool
    if not is_whole_already(library):
        assert seen_by(library, "ada") == {"nobody"}


@libraries
def test_runs_in_a_library_nest_under_its_callers(library: Callable[[Work], List[Any]]) -> None:
    def request() -> None:
        with clew.trace("request"):
            library(clew.traceable(step))

    with clew.record() as runs, clew.installed():
        in_empty_context(request)
    [root] = runs.roots
    assert {run.name for run in root.children} == {"step"}


def step() -> None:
    pass
