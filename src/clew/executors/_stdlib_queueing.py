"""
The one place that knows the inside of the stdlib's `ThreadPoolExecutor`, and when not to use it.

The stdlib's `submit` creates the future itself. Giving that future another class afterwards costs
1.3 us a job from 3.11 on (its attributes leave the fast inline layout), more than all the rest that
clew does; so the future is created here and put on the stdlib's own queue, for its own workers.
"""

from __future__ import annotations

import sys
from concurrent.futures import Future, ThreadPoolExecutor, thread
from contextvars import Context
from typing import Any, Callable, Optional, Tuple

__all__ = ("enqueue",)

# 3.14+: where this flag is set, a new thread starts with a copy of the context of whoever starts it.
# A worker would keep, for life, the context of the one job that happened to need a new thread.
_THREADS_INHERIT = bool(getattr(sys.flags, "thread_inherit_context", False))

_native_submit = ThreadPoolExecutor.submit
_stdlib: Any = thread  # its private names are in no stub


def enqueue(
    executor: ThreadPoolExecutor, future: Future[Any], context: Context, call: Tuple[Any, ...], kwargs: Any
) -> bool:
    """
    Put `context.run(*call, **kwargs)` on the executor's queue, to be reported by `future`.

    Returns:
        Whether that was done. If not, nothing has happened, and `submit_natively` will do it, or
        knows the error that says why it cannot be done.
    """
    # Somebody's instrumentation in front of the stdlib's submit has a right to see every job.
    if _make_item is None or ThreadPoolExecutor.submit is not _native_submit:
        return False
    pool: Any = executor
    with pool._shutdown_lock, _exit_lock:
        if pool._shutdown or pool._broken or _stdlib._shutdown:
            return False
        pool._work_queue.put(_make_item(pool, future, context.run, call, kwargs))
        if _THREADS_INHERIT:
            Context().run(pool._adjust_thread_count)
        else:
            pool._adjust_thread_count()
        return True


def submit_natively(executor: ThreadPoolExecutor, context: Context, call: Tuple[Any, ...], kwargs: Any) -> Future[Any]:
    if _THREADS_INHERIT:
        return Context().run(_native_submit)
