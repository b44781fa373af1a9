"""
The one place that knows the inside of the stdlib's `ThreadPoolExecutor`, and when not to use it.

The stdlib's `submit` creates the future itself. Giving that future another class afterwards costs
more than everything else that clew does for a job (from 3.11 on, its attributes leave the fast inline
layout), so here a future of the right class is put on the stdlib's own queue, for its own workers.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor, thread
from contextlib import nullcontext
from types import FunctionType
from typing import Any, Callable, ContextManager, Dict, Tuple

__all__ = ("runs_in_threads", "try_enqueue")

_stdlib: Any = thread  # its private names are in no stub
_WorkItem = _stdlib._WorkItem

# The releases whose inside was read; a later one is served by the public `submit` until it is, too.
_IS_KNOWN = sys.version_info < (3, 16)
# 3.14+: an item takes a task that the pool makes of the call; drop the else below with 3.13.
_HAS_TASKS = sys.version_info >= (3, 14)
# 3.9+: held while a pool may start a thread, against interpreter exit; drop the other with 3.8.
_exit_lock: ContextManager[Any] = getattr(_stdlib, "_global_shutdown_lock", None) or nullcontext()


def try_enqueue(
    executor: ThreadPoolExecutor,
    future: Future[Any],
    fn: Callable[..., Any],
    args: Tuple[Any, ...],
    kwargs: Dict[str, Any],
) -> bool:
    """
    Put `fn(*args, **kwargs)` on the executor's queue, its outcome to be reported by `future`.

    Returns:
        Whether that was done. If not, nothing has happened, and the stdlib's own `submit` will do it
        or raise the error that says why it cannot be done.
    """
    if not _IS_KNOWN or not (ThreadPoolExecutor.submit is _native_submit or _is_native(ThreadPoolExecutor.submit)):
        return False
    pool: Any = executor
    with pool._shutdown_lock, _exit_lock:
        if pool._shutdown or pool._broken or _stdlib._shutdown:
            return False
        if _HAS_TASKS:
            item = _WorkItem(future, pool._resolve_work_item_task(fn, args, kwargs))
        else:
            item = _WorkItem(future, fn, args, kwargs)
        pool._work_queue.put(item)
        pool._adjust_thread_count()
    return True


def runs_in_threads(executor: ThreadPoolExecutor) -> bool:
    """
    Return whether the jobs of a pool run in its threads as they are, and not, pickled, in interpreters of their own.
    """
    if not _HAS_TASKS:
        return True
    pool: Any = type(executor)
    native: Any = ThreadPoolExecutor
    return pool.prepare_context.__func__ is native.prepare_context.__func__


_native_submit: object = None  # once it has been seen


def _is_native(submit: object) -> bool:
    # Somebody's instrumentation in front of the stdlib's submit has a right to see every job. It may
    # have come before this module or after it, and imitates names but not where a function lives.
    global _native_submit
    if isinstance(submit, FunctionType) and submit.__globals__ is vars(_stdlib):
        _native_submit = submit
        return True
    return False
