"""
Tasks, threads and task groups of asyncio in a given context, the same on every Python version.

Where asyncio itself carries the context correctly, clew adds nothing. Other loops are in `clew.tasks.trio` and
`clew.tasks.anyio`.
"""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, Future, Task, get_running_loop
from concurrent.futures import Executor
from contextvars import Context
from functools import partial
from typing import Any, Callable, Coroutine, Optional, TypeVar, Union

from clew._shared.hints import ParamSpec, subscriptable
from clew.context._stepping.coroutines import close_unstarted
from clew.context._stepping.entering import runner_for_thread
from clew.context.snapshot import Snapshot
from clew.executors.wrapped import wrap_executor
from clew.tasks._asyncio_tasks import run_in_new_loop, start_task

# 3.11+: the stdlib has one; drop ours with 3.10
if sys.version_info >= (3, 11):
    from asyncio import TaskGroup as _TaskGroup
else:
    from clew.tasks._asyncio_group import TaskGroup as _TaskGroup

__all__ = ("TaskGroup", "create_task", "run", "run_in_executor", "to_thread")

if sys.version_info < (3, 9):  # for the hints; drop with 3.8
    Future, Task = subscriptable(Future), subscriptable(Task)

T = TypeVar("T")
P = ParamSpec("P")


def create_task(
    coro: Coroutine[Any, Any, T],
    *,
    name: Optional[str] = None,
    context: Union[Context, Snapshot, None] = None,
    **options: Any,
) -> Task[T]:
    """
    Start a task, as `asyncio.create_task` does, in `context` on every Python version.

    From Python 3.11 on, asyncio starts the task in the context. Before, and under a task factory that takes no
    ``context=``, each step of the coroutine runs in the context instead, and `asyncio.Task.get_coro` returns a
    `collections.abc.Coroutine` with the ``cr_`` attributes of `coro`.

    Context:
        *When*: without `context`, at this call. *What the callee sees*: the values of the caller, in a
        copy of its own, or those in `context`. *What comes back*: the result or the exception of the
        task. A `Context` given as `context` is shared, so it has the ContextVar changes of the task;
        otherwise no change comes back. Call it on the thread of the event loop.

    Args:
        coro: a coroutine object that was not started.
        name: the name of the task.
        context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which the task gets a copy.
        options: further options of `asyncio.create_task`, such as ``eager_start`` from 3.14 on.

    Raises:
        ArgumentTypeError: `context` is neither of the two.
        TypeError: `coro` is not a coroutine object.
        RuntimeError: there is no running event loop. After any of these errors, `coro` is closed.
        ContextInUseError: in the task, if other code is running in `context` at this call and at the first
            step. (If a native task cannot enter the context later, asyncio calls the loop's exception handler.)

    Example:
        >>> import asyncio, contextvars
        >>> from clew.tasks.asyncio import create_task
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def log_in(name):
        ...     user.set(name)
        >>> async def main():
        ...     context = contextvars.copy_context()
        ...     await create_task(log_in("ada"), context=context)
        ...     return context[user], user.get()
        >>> asyncio.run(main())
        ('ada', 'nobody')
    """
    try:
        loop = get_running_loop()
        if context is None and name is None and not options:
            return loop.create_task(coro)
        return start_task(loop.create_task, coro, name, context, options)  # type: ignore[no-any-return]  # a task of that coroutine
    except BaseException:
        close_unstarted(coro)
        raise


class TaskGroup(_TaskGroup):
    """
    An `asyncio.TaskGroup` for Python 3.8 and later, which can start tasks in a given context.

    From 3.11 on it is a subclass of asyncio's, with another `create_task`. Before, it is clew's own class with the
    behaviour of 3.11: the task that enters it gets `cancelling()` and `uncancel()`, and the errors of several tasks
    come as an `ExceptionGroup` of the package exceptiongroup.

    Context:
        *When*: at each `create_task`. *What the callee sees*: see there. *What comes back*: nothing,
        except in a given `Context`. An instance serves one ``async with``, in one task.

    Raises:
        RuntimeError: as `asyncio.TaskGroup`: entered twice, without a task, or used outside of its block.

    Source:
        `asyncio.TaskGroup` of Python 3.11.

    Example:
        >>> import asyncio, clew
        >>> from clew.tasks.asyncio import TaskGroup
        >>> async def fetch(number):
        ...     with clew.trace(f"fetch {number}"):
        ...         await asyncio.sleep(0)
        >>> async def main():
        ...     with clew.trace("request"):
        ...         async with TaskGroup() as group:
        ...             for number in range(2):
        ...                 group.create_task(fetch(number))
        >>> with clew.record() as runs:
        ...     asyncio.run(main())
        >>> print(runs.tree())
        request
        ├── fetch 0
        └── fetch 1
    """

    def create_task(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        name: Optional[str] = None,
        context: Union[Context, Snapshot, None] = None,
        **options: Any,
    ) -> Task[T]:
        """
        Start a task that the group waits for.

        Context:
            As `create_task` of this module.

        Args:
            coro: a coroutine object that was not started.
            name: the name of the task.
            context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which the task gets a copy.
            options: further options of `asyncio.TaskGroup.create_task`.

        Raises:
            RuntimeError: the group was not entered, has ended, or is ending because a task has failed. `coro`
                is closed then; before Python 3.13 only if no other code refers to it.
            ArgumentTypeError, TypeError, ContextInUseError: as `create_task` of this module.
        """
        try:
            if context is None and name is None and not options:
                return super().create_task(coro)
            return start_task(super().create_task, coro, name, context, options)  # type: ignore[no-any-return]  # a task of that coroutine
        except BaseException as error:
            if not _leaves_coroutine(error):
                close_unstarted(coro)
                raise
            # Without the frames, which refer to the coroutine as well.
            refusal = error.with_traceback(None)
        if _references(coro) <= _REFERENCES_OF_CALLER:
            close_unstarted(coro)
        try:
            raise refusal
        finally:
            del refusal, self  # the traceback holds this frame


def _leaves_coroutine(error: BaseException) -> bool:
    """
    Return whether the group has refused a coroutine without closing it.

    Before 3.13 it does: the caller keeps the coroutine, and the standard library's own tests await it afterwards.
    """
    traceback = error.__traceback__
    if sys.version_info >= (3, 13) or traceback is None:
        return False
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code is _TaskGroup.create_task.__code__


# PyPy has no reference counts. There, before 3.13, the caller keeps a refused coroutine.
_references: Callable[[object], int] = getattr(sys, "getrefcount", lambda _: 1)


class _Calibration:
    def create_task(self, coro: object, **_: object) -> int:
        return _references(coro)


# The count of an argument that was created in the call, as in ``create_task(f())``, and that no variable refers to.
_REFERENCES_OF_CALLER = _Calibration().create_task(object()) if hasattr(sys, "getrefcount") else 0


async def to_thread(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Call `fn(*args, **kwargs)` in a thread of the loop's default executor, as `asyncio.to_thread` does from 3.9 on.

    Context:
        *When*: at the first step of the coroutine, when it is awaited; also the values of accessors.
        *What the callee sees*: the values of the task, in a copy. *What comes back*: the result or the
        exception, and no ContextVar change. A cancelled task does not wait for the thread.

    Args:
        fn: a plain function.
        args: its positional arguments.
        kwargs: its keyword arguments.

    Example:
        >>> import asyncio, contextvars
        >>> from clew.tasks.asyncio import to_thread
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def main():
        ...     user.set("ada")
        ...     return await to_thread(user.get)
        >>> asyncio.run(main())
        'ada'
    """
    return await run_in_executor(None, fn, *args, **kwargs)


def run_in_executor(
    executor: Optional[Executor], fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> Future[T]:
    """
    Call `fn(*args, **kwargs)` in an executor, as `loop.run_in_executor` does, but in the caller's context.

    Context:
        *When*: at this call; also the values of accessors. *What the callee sees*: the values of the
        caller, in a copy; in another process none of them, see `clew.wrap_executor`. *What comes back*:
        the result or the exception, and no ContextVar change. Call it on the thread of the event loop.

    Args:
        executor: any executor, or None for the default one of the running event loop.
        fn: a plain function.
        args: its positional arguments.
        kwargs: its keyword arguments. (`loop.run_in_executor` accepts none.)

    Returns:
        A future of the running event loop.

    Raises:
        ArgumentTypeError: `executor` is neither an executor nor None.
        RuntimeError: there is no running event loop.

    Example:
        >>> import asyncio, contextvars
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from clew.tasks.asyncio import run_in_executor
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def main():
        ...     user.set("ada")
        ...     with ThreadPoolExecutor() as pool:
        ...         return await run_in_executor(pool, user.get)
        >>> asyncio.run(main())
        'ada'
    """
    loop = get_running_loop()
    if executor is None:
        return loop.run_in_executor(None, partial(runner_for_thread(kwargs), fn, *args, **kwargs))
    job: Callable[[], T] = partial(fn, *args, **kwargs) if args or kwargs else fn
    return loop.run_in_executor(wrap_executor(executor), job)


def run(
    main: Coroutine[Any, Any, T],
    *,
    context: Union[Context, Snapshot, None] = None,
    debug: Optional[bool] = None,
    loop_factory: Optional[Callable[[], AbstractEventLoop]] = None,
) -> T:
    """
    Run `main` in a new event loop, as `asyncio.run` does, in `context`.

    Context:
        *When*: without `context`, at this call. *What the callee sees*: the values of the caller, in a
        copy, or those in `context`. *What comes back*: the result or the exception. A `Context` given as
        `context` has the ContextVar changes; otherwise no change comes back.

    Args:
        main: a coroutine object that was not started.
        context: a `contextvars.Context`, which is shared, or a `Snapshot`, of which `main` gets a copy.
        debug: whether the event loop is in debug mode; None for asyncio's default.
        loop_factory: a function that creates the event loop; None for `asyncio.new_event_loop`.

    Raises:
        ArgumentTypeError: `context` is neither of the two.
        TypeError: `main` is not a coroutine object; on some versions a `ValueError`, as from `asyncio.run`.
        ContextInUseError: other code, perhaps the caller, is running in `context`.
        RuntimeError: an event loop is running on this thread already. After any of these errors, `main` is closed.

    Example:
        >>> import contextvars
        >>> from clew.tasks.asyncio import run
        >>> user = contextvars.ContextVar("user", default="nobody")
        >>> async def main():
        ...     user.set("ada")
        >>> context = contextvars.Context()
        >>> run(main(), context=context)
        >>> context[user]
        'ada'
    """
    try:
        result: T = run_in_new_loop(main, context, debug=debug, loop_factory=loop_factory)
        return result
    except BaseException:
        close_unstarted(main)
        raise
