"""
`map` by way of `submit`: captured once, in order, and lazily where there is a `buffersize`.
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
    Return what `executor.map` is to return; `submit(executor, ...)` captures the context that this call captures.
    """
    _check_buffersize(buffersize)
    deadline = None if timeout is None else timeout + time.monotonic()
    # Entered below for as long as one submit takes, on one thread: by this call and then by the
    # iterator, a generator, which cannot run twice at once.
    run = runner(prepare_to_keep(copy_context()), capture_carried())
    rows = zip(*iterables)
    futures = deque(run(submit, executor, fn, *row) for row in islice(rows, buffersize))
    if buffersize is None:
        return _results(futures, deadline, lambda: None)

    # Like the stdlib's, the iterator keeps no executor alive that nobody else wants.
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
            # The popped future is in no variable of this frame while the consumer has control.
            yield _take(futures.popleft(), deadline)
    finally:
        for future in futures:
            future.cancel()


def _take(future: Future[T], deadline: Optional[float]) -> T:
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    finally:
        # After a timeout nobody can ask for this result any more. A finished future ignores it.
        future.cancel()
        # A failed future's exception has a traceback, which has this frame: break the cycle.
        del future


def _check_buffersize(buffersize: object) -> None:
    # The openings are the words of 3.14's own messages.
    if buffersize is None:
        return
    remedy = "pass how many jobs may be ahead of the results, or leave it out to submit all at once"
    if not isinstance(buffersize, int):
        raise ArgumentTypeError(f"buffersize must be an integer or None, got {buffersize!r}; {remedy}")
    if buffersize < 1:
        raise ArgumentValueError(f"buffersize must be None or > 0, got {buffersize!r}; {remedy}")
