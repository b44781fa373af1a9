"""
`ContextThreadPool`: a `multiprocessing.pool.ThreadPool` that runs each job in the context of its caller.

The pool of `concurrent.futures`, and pools of processes, are not here.
"""

from __future__ import annotations

import sys
from contextvars import Context
from multiprocessing.pool import AsyncResult, MapResult, ThreadPool
from typing import Any, Callable, Generator, Iterable, List, Mapping, Optional, TypeVar

from clew._shared.hints import subscriptable
from clew.executors._pool_jobs import Task, job_in_copy, native_tasks, start_job, tasks_in_copies

__all__ = ("ContextThreadPool",)

if sys.version_info < (3, 9):  # for the hints; drop with 3.8
    AsyncResult, MapResult = subscriptable(AsyncResult), subscriptable(MapResult)

S = TypeVar("S")
T = TypeVar("T")


class ContextThreadPool(ThreadPool):
    """
    A `multiprocessing.pool.ThreadPool` that runs each job in the context of its caller.

    A drop-in replacement: same arguments, results, errors, `close`, `terminate` and `join`. Every call of the
    function gets its own copy of the caller's context, also if `chunksize` sends several calls to a worker at
    once. So no job sees what another one has set.

    Context:
        *When*: at `apply`, `map`, `starmap`, their ``_async`` forms, `imap` and `imap_unordered`, on
        the calling thread; also for items that are read later. *What the callee sees*: the values of
        the caller, in a copy of its own. An iterable that is read on a thread of the pool is read in
        one more copy, from its first item to its last; so are `callback` and `error_callback` called.
        `initializer` and an idle worker see an empty context, also where threads inherit one by
        default. *What comes back*: the result or the exception, and no ContextVar change. Thread-safe
        and re-entrant.

    Example:
        >>> import contextvars
        >>> from clew import ContextThreadPool
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> token = user.set("ada")
        >>> with ContextThreadPool(2) as pool:
        ...     pool.map(lambda greeting: greeting + user.get(), ["hello ", "goodbye "])
        ['hello ada', 'goodbye ada']
    """

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Optional[Callable[[T], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> AsyncResult[T]:
        """
        Schedule `func(*args, **kwds)` and return its `multiprocessing.pool.AsyncResult`.

        Context:
            *When*: at this call, which `apply` makes, too. *What the callee sees*: the caller's
            values, in a copy of its own; the callback that is called gets another copy. *What comes
            back*: only the result. Thread-safe.

        Raises:
            ValueError: the pool has been closed or terminated.
        """
        return start_job(super().apply_async, job_in_copy(func, args, kwds), callback, error_callback)

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[T]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> MapResult[T]:
        """
        Schedule `func(item)` for the items of `iterable` and return the `AsyncResult` of the list.

        Context:
            As `apply_async`, with a copy for each item. An iterable without a length is read before
            this returns, in the context of the caller.

        Raises:
            ValueError: the pool has been closed or terminated.
        """
        return start_job(super().map_async, (func, iterable, chunksize), callback, error_callback)

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: Optional[int] = None,
        callback: Optional[Callable[[List[T]], object]] = None,
        error_callback: Optional[Callable[[BaseException], object]] = None,
    ) -> AsyncResult[List[T]]:
        """
        Schedule `func(*item)` for the items of `iterable` and return the `AsyncResult` of the list.

        Context:
            As `map_async`.

        Raises:
            ValueError: the pool has been closed or terminated.
        """
        return start_job(super().starmap_async, (func, iterable, chunksize), callback, error_callback)

    # Every `map`, `starmap` and `imap` calls this, on the thread of its caller. The pool's task handler, a thread,
    # reads the tasks from the returned generator and hands them to the workers.
    def _guarded_task_generation(
        self, result_job: int, func: Callable[..., Any], iterable: Iterable[Any]
    ) -> Generator[Task, None, None]:
        return tasks_in_copies(native_tasks(self, result_job, func, iterable))

    # 3.14+: with this flag, a new thread starts with a copy of the context of the thread that starts it. The threads
    # of the pool are started here, or later by one of them.
    if getattr(sys.flags, "thread_inherit_context", False):

        def __init__(
            self,
            processes: Optional[int] = None,
            initializer: Optional[Callable[..., object]] = None,
            initargs: Iterable[Any] = (),
        ) -> None:
            Context().run(super().__init__, processes, initializer, initargs)
