"""
The jobs and callbacks of `multiprocessing.pool.ThreadPool`, made to run in copies of the caller's context.

The pool itself is in `clew.executors.multiprocessing_pool`; `clew.install` uses this for the stdlib's pools.

Guarantees:
    - Every call of the user's function gets its own copy of the context, also within a chunk of a `map`.
    - A result that is done keeps no context alive.

Assumes:
    - The private names of the stdlib that are read below. They are the same from 3.8 to 3.15. On a release without
      them, the import fails here, which is better than jobs without their context.
"""

from __future__ import annotations

from contextvars import Context, copy_context
from functools import partial
from itertools import repeat, starmap
from multiprocessing import pool
from typing import TYPE_CHECKING, Any, Callable, Dict, Generator, Iterable, Iterator, Mapping, Optional, Tuple, TypeVar

from clew.context._stepping.carrying import Carried, carriers
from clew.context._stepping.entering import capture_carried, prepare_for_thread, prepare_to_keep, runner_for_thread
from clew.context._stepping.neighbours import loaded

if TYPE_CHECKING:
    from multiprocessing.pool import AsyncResult

__all__ = ("Task", "job_in_copy", "native_tasks", "start_job", "tasks_in_copies")

T = TypeVar("T")
ResultT = TypeVar("ResultT", bound="AsyncResult[Any]")

_stdlib: Any = pool  # its private names are in no stub
native_tasks = _stdlib.ThreadPool._guarded_task_generation
_mapstar, _starmapstar = _stdlib.mapstar, _stdlib.starmapstar

# What the stdlib's pool hands to a worker: the number of the call of `map`, the number of the task in it, a function
# and its arguments.
Task = Tuple[int, int, Callable[..., Any], Tuple[Any, ...], Dict[str, Any]]


def job_in_copy(func: Callable[..., Any], args: Iterable[Any] = (), kwds: Mapping[str, Any] = {}) -> Tuple[Any, ...]:
    """
    Return the arguments that make `apply_async` call `func` in a copy of the current context.
    """
    if type(args) is tuple and type(kwds) is dict:
        return runner_for_thread(kwds), (func, *args), kwds
    # The worker reads the arguments, as it does in the stdlib's pool: they may be lazy, and an error in them is the
    # job's error.
    return runner_for_thread(), (_call, func, args, kwds), {}


def _call(func: Callable[..., T], args: Iterable[Any], kwds: Mapping[str, Any]) -> T:
    return func(*args, **kwds)


def tasks_in_copies(tasks: Generator[Task, None, None]) -> Generator[Task, None, None]:
    """
    Return the tasks of the stdlib's generator, made to be read, and their functions called, in copies of the context.
    """
    # Captured here, at the call. A generator's body begins only when its first item is read.
    return _read_in_copy(tasks, prepare_for_thread(copy_context()), capture_carried())


def _read_in_copy(
    tasks: Generator[Task, None, None], context: Context, carried: Carried
) -> Generator[Task, None, None]:
    run: Any = context.copy().run  # only the task handler enters this copy, for one `next` at a time
    read = partial(run, *carriers(carried))
    try:
        for job, index, func, args, kwds in iter(partial(read, next, tasks, None), None):
            if func is _mapstar:
                [(fn, items)] = args
                yield job, index, list, (_calls(context, carried, fn, items),), kwds
            elif func is _starmapstar:
                [(fn, items)] = args
                # `next` unpacks an item and calls the function with it, so both happen in the copy.
                calls = map(starmap, repeat(fn), zip(items))
                yield job, index, list, (_calls(context, carried, next, calls),), kwds
            else:
                yield job, index, next, (_calls(context, carried, func, args),), kwds
    finally:
        # A pool that is terminated closes the generator half-read. Close the stdlib's in the context of its reading.
        read(tasks.close)


def _calls(context: Context, carried: Carried, func: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
    """
    Return an iterator that calls `func(item)` for each item, in a copy of `context` that is made for the call.
    """
    # Built of functions in C. A Python function would cost time for each item, and its frame, in the traceback of an
    # exception, would keep the context alive as long as the exception.
    copies = map(Context.copy, repeat(context))
    if "sentry_sdk.scope" in loaded:
        copies = map(prepare_to_keep, copies)
    run: Any = Context.run
    return map(run, copies, *map(repeat, carried), repeat(func), items)


def start_job(start: Callable[..., ResultT], job: Tuple[Any, ...], callback: Any, error_callback: Any) -> ResultT:
    """
    Return the result of `start(*job)`, with callbacks that run in a copy of the current context.
    """
    if not (callback or error_callback):  # the stdlib, too, ignores everything false
        return start(*job)
    callbacks = _Callbacks(callback, error_callback)
    result = start(*job, callbacks.succeeded, callbacks.failed)
    if result.ready():
        # The stdlib calls no callback for an empty iterable.
        callbacks.forget()
    return result


class _Callbacks:
    """
    The two callbacks of one result. After one of them was called, neither refers to the context any more.
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
        # A result keeps its callbacks after calling one; release the context now.
        run, self._run = self._run, None
        if fn and run is not None:
            run(fn, outcome)
