"""
Random scripts of sets, submits, maps and callbacks: each piece of work sees the value of its own capture.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, List, Tuple

from hypothesis import given, settings, strategies as st

import clew
from clew import ContextThreadPoolExecutor
from tests.edges._threads import DEADLINE, in_empty_context

var: ContextVar[int] = ContextVar("var", default=-1)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 9)),
        st.tuples(st.just("submit"), st.integers(0, 9)),
        st.tuples(st.just("map"), st.integers(0, 5), st.none() | st.integers(1, 3)),
        st.tuples(st.just("take")),
        st.tuples(st.just("callback")),
        st.tuples(st.just("trace"), st.integers(0, 9)),
    ),
    max_size=25,
)


def visit(own: int) -> Tuple[int, str | None]:
    """Return what the job sees, and leave something behind that nobody else may see."""
    run = clew.get_current_run_tree()
    seen = (var.get(), None if run is None else run.name)
    var.set(own + 100)
    return seen


@settings(deadline=None)
@given(steps, st.integers(1, 4))
def test_each_job_sees_the_values_of_its_capture(script: List[Tuple[Any, ...]], workers: int) -> None:
    in_empty_context(run_script, script, workers)


def run_script(script: List[Tuple[Any, ...]], workers: int) -> None:  # noqa: C901  a table of operations
    checks: List[Tuple[Any, Any]] = []  # what to wait for, and what it has to give
    iterators: List[Tuple[Any, Any]] = []
    called: List[Any] = []
    expected_calls: List[Any] = []
    blocks: List[Any] = []
    with clew.record(), ContextThreadPoolExecutor(workers) as pool:
        future = pool.submit(visit, 0)
        for operation, *args in script:
            now = (var.get(), blocks[-1]._name if blocks else None)
            if operation == "set":
                var.set(args[0])
            elif operation == "submit":
                future = pool.submit(visit, args[0])
                checks.append((future, now))
            elif operation == "map":
                iterators.append((pool.map(visit, range(args[0]), buffersize=args[1]), now))
            elif operation == "take" and iterators:
                results, then = iterators[-1]
                assert next(results, then) == then
            elif operation == "callback":
                future.add_done_callback(lambda _: called.append(visit(0)))
                expected_calls.append(now)
            elif operation == "trace":
                blocks.append(clew.trace(f"block {args[0]}"))
                blocks[-1].__enter__()
        for waiting, then in checks:
            assert waiting.result(DEADLINE) == then
        for results, then in iterators:
            assert set(results) <= {then}
        while blocks:
            blocks.pop().__exit__(None, None, None)
    assert sorted(called, key=repr) == sorted(expected_calls, key=repr)
