"""
`ContextThreadPool`: `multiprocessing.pool.ThreadPool`, each job in the context of its caller.

The pool of `concurrent.futures`, and pools of processes, are not here.
"""

from __future__ import annotations

import sys
from contextvars import Context, copy_context
from functools import partial
from itertools import repeat, starmap
from multiprocessing import pool
from multiprocessing.pool import AsyncResult, MapResult, ThreadPool
from typing import Any, Callable, Dict, Generator, Iterable, Iterator, List, Mapping, Optional, Tuple, TypeVar

from clew._shared.hints import subscriptable
from clew.context._stepping.carrying import Carried, carriers
from clew.context._stepping.entering import capture_carried, prepare_for_thread, prepare_to_keep, runner_for_thread
from clew.context._stepping.neighbours import loaded

__all__ = ("ContextThreadPool", "in_callers_context", "start", "tasks_in_callers_context")

if sys.version_info < (3, 9):  # for the hints; drop with 3.8
    AsyncResult, MapResult = subscriptable(AsyncResult), subscriptable(MapResult)

S = TypeVar("S")
T = TypeVar("T")
ResultT = TypeVar("ResultT", bound="AsyncResult[Any]")

_stdlib: Any = pool  # its private names are in no stub
# Private as they are, these are the same from 3.8 to 3.15. On a release that has one of them no more, the
# import fails here, which is better than jobs without their context.
_generate_tasks = _stdlib.ThreadPool._guarded_task_generation
_mapstar, _starmapstar = _stdlib.mapstar, _stdlib.starmapstar

# The number of a call of `map`, that of the task in it, and what a worker is to call.
Task = Tuple[int, int, Callable[..., Any], Tuple[Any, ...], Dict[str, Any]]


class ContextThreadPool(ThreadPool):
    """
    Be a `multiprocessing.pool.ThreadPool` that runs each job in the context of its caller.

    A drop-in: same arguments, results, errors, `close`, `terminate` and `join`. Every call of the
    function has a copy of the caller's context to itself, also where `chunksize` sends several to a
    worker at once, so nothing of one job is seen by another, and nothing comes back.

    Context:
        *When*: at `apply`, `map`, `starmap`, their ``_async`` forms, `imap` and `imap_unordered`, on
        the calling thread; also for items that are read later. *What the callee sees*: the values of
        the caller, in a copy of its own. An iterable that is read on a thread of the pool is read in
        one more such copy, from its first item to its last; `callback` and `error_callback` have one,
        too. `initializer` and an idle worker see an empty context, also where threads inherit one by
        default, so that no job finds what another one left. *What comes back*: the result or the
        exception, and no ContextVar change. Thread-safe and re-entrant.

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
        Schedule `func(*args, **kwds)` and return the `multiprocessing.pool.AsyncResult` of it.

        Context:
            *When*: at this call; also for `apply`, which makes it. *What the callee sees*: the
            caller's values, in a copy of its own; of the callbacks, the one that is called has
            another. *What comes back*: nothing but the result. Thread-safe.

        Raises:
            ValueError: the pool has been closed or terminated.
        """
        return start(super().apply_async, in_callers_context(func, args, kwds), callback, error_callback)

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
        return start(super().map_async, (func, iterable, chunksize), callback, error_callback)

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
        return start(super().starmap_async, (func, iterable, chunksize), callback, error_callback)

    # What every `map`, `starmap` and `imap` calls, on the thread of its caller, for what the thread of the
    # task handler then reads and hands to the workers.
    def _guarded_task_generation(
        self, result_job: int, func: Callable[..., Any], iterable: Iterable[Any]
    ) -> Generator[Task, None, None]:
        return tasks_in_callers_context(_generate_tasks(self, result_job, func, iterable))

    # 3.14+: where this flag is set, a new thread starts with a copy of the context of whoever starts it.
    # All threads of the pool are started here, or, later, by one that was.
    if getattr(sys.flags, "thread_inherit_context", False):

        def __init__(
            self,
            processes: Optional[int] = None,
            initializer: Optional[Callable[..., object]] = None,
            initargs: Iterable[Any] = (),
        ) -> None:
            Context().run(super().__init__, processes, initializer, initargs)


def in_callers_context(
    func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}
) -> Tuple[Any, ...]:
    """
    Return what `apply_async` is to be given for a call of `func` in a copy of the context of this moment.
    """
    if type(args) is tuple and type(kwds) is dict:
        return runner_for_thread(kwds), (func, *args), kwds
    # Read by the worker, as by the stdlib's: it may be lazy, and what is wrong with it is the job's error.
    return runner_for_thread(), (_call, func, args, kwds), {}


def tasks_in_callers_context(tasks: Generator[Task, None, None]) -> Generator[Task, None, None]:
    """
    Return the tasks of the stdlib's generator, to be read, and called, in copies of the context of this moment.
    """
    return _in_context(tasks, prepare_for_thread(copy_context()), capture_carried())


def _call(func: Callable[..., T], args: Iterable[Any], kwds: Mapping[str, Any]) -> T:
    return func(*args, **kwds)


def _in_context(tasks: Generator[Task, None, None], context: Context, carried: Carried) -> Generator[Task, None, None]:
    """
    Read `tasks` in one copy of `context`, and yield tasks that make each of their calls in another one.
    """
    run: Any = context.copy().run  # for the thread of the task handler alone, as long as one `next` takes
    read = partial(run, *carriers(carried))
    try:
        for job, index, func, args, kwds in iter(partial(read, next, tasks, None), None):
            if func is _mapstar:
                [(fn, items)] = args
                yield job, index, list, (_calls(context, carried, fn, items),), kwds
            elif func is _starmapstar:
                [(fn, items)] = args
                # `next` is what unpacks an item and calls, so that the context is there for both.
                calls = map(starmap, repeat(fn), zip(items))
                yield job, index, list, (_calls(context, carried, next, calls),), kwds
            else:
                yield job, index, next, (_calls(context, carried, func, args),), kwds
    finally:
        # Where a pool is terminated, a generator that it has read in part is closed where it was read.
        read(tasks.close)


def _calls(context: Context, carried: Carried, func: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
    """
    Return an iterator that calls `func(item)` for each item, each in a copy of `context`, made for the call.
    """
    # No function of ours is called for an item: it would cost, and in the traceback of an exception it
    # would keep the context alive for as long as that.
    copies = map(Context.copy, repeat(context))
    if "sentry_sdk.scope" in loaded:
        copies = map(prepare_to_keep, copies)
    run: Any = Context.run
    return map(run, copies, *map(repeat, carried), repeat(func), items)


def start(start_it: Callable[..., ResultT], job: Tuple[Any, ...], callback: Any, error_callback: Any) -> ResultT:
    """
    Return the result of `start_it(*job)`, its callbacks to run in a copy of the context of this moment.
    """
    if not (callback or error_callback):  # which is what the stdlib asks
        return start_it(*job)
    callbacks = _Callbacks(callback, error_callback)
    result = start_it(*job, callbacks.succeeded, callbacks.failed)
    if result.ready():
        # Of an empty iterable, of which the stdlib calls nobody back.
        callbacks.forget()
    return result


class _Callbacks:
    """
    Hold the two callbacks of a result: whichever is called, the context goes with it.
    """

    __slots__ = ("_callback", "_error_callback", "_run")

    def __init__(self, callback: Any, error_callback: Any) -> None:
        self._callback = callback
        self._error_callback = error_callback
        self._run: Optional[Callable[..., Any]] = runner_for_thread()

    def succeeded(self, value: object) -> None:
        self._call(self._callback, value)

    def failed(self, error: BaseException) -> None:
        self._call(self._error_callback, error)

    def forget(self) -> None:
        self._run = None

    def _call(self, fn: Any, outcome: object) -> None:
        # A result keeps its callbacks after it has called one; the context must not stay with them.
        run, self._run = self._run, None
        if fn and run is not None:
            run(fn, outcome)
