"""
`submit` as all context-carrying executors do it: each job runs in a copy of its submitter's context.

This is the one place that knows the inside of the stdlib's `ThreadPoolExecutor`.

Guarantees:
    - A job gets a copy of the context that is current at the call of a function of this module, for itself alone.
    - If somebody has replaced `ThreadPoolExecutor.submit`, their function is called for every job.
    - A job that cannot go straight to a pool's queue is given to the executor's own `submit`, which raises its own
      error if it takes no more jobs.

Assumes:
    - The private names of `ThreadPoolExecutor` used here, up to `_IS_KNOWN`. Later releases are served by the public
      `submit` until their source has been read.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor, thread
from contextlib import nullcontext
from contextvars import Context
from types import FunctionType
from typing import Any, Callable, ContextManager, Dict, Tuple

from clew.context._stepping.entering import runner_for_thread
from clew.context._stepping.stand_ins import Job
from clew.executors._future import ContextFuture, with_context_callbacks

__all__ = ("runs_in_threads", "submit_in_copy", "submit_to_pool")

_stdlib: Any = thread  # its private names are in no stub
_WorkItem = _stdlib._WorkItem

_IS_KNOWN = sys.version_info < (3, 16)
# 3.14+: a work item takes a task that the pool makes of the call; drop the else below with 3.13.
_HAS_TASKS = sys.version_info >= (3, 14)
# 3.14+: with this flag a new thread starts with a copy of the context that is current where it is started.
_THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))
# 3.9+: held while a pool may start a thread, against interpreter exit; drop the other with 3.8.
_exit_lock: ContextManager[Any] = getattr(_stdlib, "_global_shutdown_lock", None) or nullcontext()


def submit_in_copy(
    submit: Callable[..., Future[Any]],
    fn: Callable[..., Any],
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
    *,
    may_pickle: bool = False,
) -> Future[Any]:
    """
    Submit `fn(*args, **kwargs)` to run in a copy of the current context, and return its future.

    Args:
        submit: the executor's own `submit`.
        fn: the job.
        args: its positional arguments.
        kwargs: its keyword arguments.
        may_pickle: whether the executor may pickle the job. It then gets an object that is pickled as the bare
            function, as a context cannot be pickled.
    """
    run = runner_for_thread(kwargs)
    if may_pickle:
        return with_context_callbacks(submit(Job(run, fn), *args, **kwargs))
    return with_context_callbacks(submit(run, fn, *args, **kwargs))


def submit_to_pool(
    pool: ThreadPoolExecutor, fn: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]
) -> Future[Any]:
    """
    Do what `submit_in_copy` does with a pool whose `submit` is that of `ThreadPoolExecutor`, but faster.

    The job goes straight to the pool's own queue, for its own workers, together with a `ContextFuture`. The stdlib's
    `submit` creates the future itself, and changing the class of an existing object costs more than everything else
    that clew does for a job (from 3.11 on, the change moves the object's attributes into a dict).
    """
    run = runner_for_thread(kwargs)
    if _IS_KNOWN and (ThreadPoolExecutor.submit is _native_submit or _is_native(ThreadPoolExecutor.submit)):
        future = ContextFuture()
        if _enqueue(pool, future, run, (fn, *args), kwargs):
            return future
    return with_context_callbacks(ThreadPoolExecutor.submit(pool, run, fn, *args, **kwargs))


def _enqueue(
    pool: Any, future: Future[Any], fn: Callable[..., Any], args: Tuple[Any, ...], kwargs: Dict[str, Any]
) -> bool:
    """
    Put `fn(*args, **kwargs)` on the pool's queue as the stdlib's `submit` does; False if the pool takes no more jobs.
    """
    with pool._shutdown_lock, _exit_lock:
        if pool._shutdown or pool._broken or _stdlib._shutdown:
            return False
        if _HAS_TASKS:
            item = _WorkItem(future, pool._resolve_work_item_task(fn, args, kwargs))
        else:
            item = _WorkItem(future, fn, args, kwargs)
        pool._work_queue.put(item)
        if _THREADS_INHERIT:
            # A worker would keep the context of the one job that needed a new thread for its whole life.
            Context().run(pool._adjust_thread_count)
        else:
            pool._adjust_thread_count()
    return True


def runs_in_threads(executor: ThreadPoolExecutor) -> bool:
    """
    Return whether a pool calls its jobs directly in its threads. An interpreter pool pickles them instead.
    """
    if not _HAS_TASKS:
        return True
    pool: Any = type(executor)
    native: Any = ThreadPoolExecutor
    return pool.prepare_context.__func__ is native.prepare_context.__func__


_native_submit: object = None  # the stdlib's `submit`, once `_is_native` has recognised it


def _is_native(submit: object) -> bool:
    # Instrumentation may have replaced `submit` before this module was loaded or after. Wrappers copy the name of the
    # function that they wrap, so compare the module that a function's code belongs to.
    global _native_submit
    if isinstance(submit, FunctionType) and submit.__globals__ is vars(_stdlib):
        _native_submit = submit
        return True
    return False
