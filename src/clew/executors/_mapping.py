"""
`map` by way of `submit`: one capture for all jobs, results in order, lazy with a `buffersize`.
"""

from __future__ import annotations

import time
import weakref
from collections import deque
from concurrent.futures import Executor, Future
from contextvars import copy_context
from itertools import islice
from typing import Any, Callable, Deque, Iterable, Iterator, Optional, Tuple, TypeVar

from clew.context._stepping.entering import capture_carried, prepare_to_keep, runner
from clew.errors import ArgumentTypeError, ArgumentValueError

__all__ = ("map_by_submitting",)

T = TypeVar("T")


def _submit(executor: Executor, /, *job: Any) -> Future[Any]:
    return executor.submit(*job)


def map_by_submitting(
    executor: Executor,
    fn: Callable[..., T],
    iterables: Tuple[Iterable[Any], ...],
    *,
    timeout: Optional[float],
    buffersize: Optional[int],
    submit: Callable[..., Future[Any]] = _submit,
) -> Iterator[T]:
    """
    Submit `fn(*row)` for each row of the iterables, and return an iterator over the results in order.

    Every job runs in the context that is captured at this call, also a job that is submitted later.

    Args:
        executor: where the jobs go.
        fn: the function.
        iterables: for each argument of `fn`, its values.
        timeout: the seconds from this call after which `next` raises `TimeoutError`.
        buffersize: how many jobs may be ahead of the results taken; None to submit all jobs at once.
        submit: submits a job to run in a copy of the context in which `submit` is called.
    """
    _check_buffersize(buffersize)
    deadline = None if timeout is None else timeout + time.monotonic()
    # One context for all submits. It is never entered twice at once: this call has returned when the iterator, which
    # cannot run twice at once either, enters it.
    run = runner(prepare_to_keep(copy_context()), capture_carried())
    rows = zip(*iterables)
    futures = deque(run(submit, executor, fn, *row) for row in islice(rows, buffersize))
    if buffersize is None:
        return _results(futures, deadline, lambda: None)

    # As in the stdlib, the iterator does not keep the executor alive.
    executor_ref = weakref.ref(executor)

    def submit_next() -> None:
        executor = executor_ref()
        if executor is not None:
            for row in islice(rows, 1):
                futures.append(run(submit, executor, fn, *row))

    return _results(futures, deadline, submit_next)


def _results(futures: Deque[Future[T]], deadline: Optional[float], submit_next: Callable[[], None]) -> Iterator[T]:
    try:
        while futures:
            submit_next()
            # No variable of this frame may keep a future alive while the generator is suspended.
            yield _take(futures.popleft(), deadline)
    finally:
        for future in futures:
            future.cancel()


def _take(future: Future[T], deadline: Optional[float]) -> T:
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    finally:
        # After a timeout nobody can ask for this result any more. A finished future ignores the cancellation.
        future.cancel()
        # Breaks a reference cycle: future, its exception, the exception's traceback, this frame.
        del future


def _check_buffersize(buffersize: object) -> None:
    # The messages begin as those of 3.14 do.
    if buffersize is None:
        return
    remedy = "pass how many jobs may be ahead of the results, or leave it out to submit all at once"
    if not isinstance(buffersize, int):
        raise ArgumentTypeError(f"buffersize must be an integer or None, got {buffersize!r}; {remedy}")
    if buffersize < 1:
        raise ArgumentValueError(f"buffersize must be None or > 0, got {buffersize!r}; {remedy}")
