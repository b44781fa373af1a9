"""
`asyncio.TaskGroup` for Python 3.8 to 3.10, which have none. Drop this file with 3.10.

A group starts its tasks by `loop.create_task`; `clew.tasks.asyncio` adds the context.
"""

from __future__ import annotations

import asyncio
import weakref
from types import TracebackType
from typing import TYPE_CHECKING, Any, Coroutine, List, Optional, Set, Type, TypeVar

from exceptiongroup import BaseExceptionGroup

from clew._shared.hints import subscriptable

if TYPE_CHECKING:
    from asyncio import Future, Task

    from typing_extensions import Self
else:
    Self = Any  # for the hints, as the next two
    Future, Task = subscriptable(asyncio.Future), subscriptable(asyncio.Task)

__all__ = ("TaskGroup",)

T = TypeVar("T")


class TaskGroup:
    """
    A task group with the behaviour of `asyncio.TaskGroup` in Python 3.11.

    Source:
        The documentation of `asyncio.TaskGroup`, and CPython's own tests of it.
    """

    def __init__(self) -> None:
        self._loop: Any = None
        self._parent: Any = None  # while the group is open
        self._is_entered = False
        self._tasks: Set[Task[Any]] = set()
        self._errors: List[BaseException] = []
        self._fatal: Optional[BaseException] = None  # raised itself, not in an ExceptionGroup
        self._is_leaving = False
        self._is_stopping = False
        self._has_stopped_parent = False
        self._when_empty: Optional[Future[None]] = None  # while the parent waits for it

    def __repr__(self) -> str:
        state = [f"tasks={len(self._tasks)}"] if self._tasks else []
        state += [f"errors={len(self._errors)}"] if self._errors else []
        state += ["cancelling"] if self._is_stopping else ["entered"] if self._is_entered else []
        return f"<{' '.join(['TaskGroup', *state])}>"

    async def __aenter__(self) -> Self:
        if self._is_entered:
            raise RuntimeError(f"TaskGroup {self!r} has already been entered")
        loop = asyncio.get_running_loop()
        parent = asyncio.current_task(loop)
        if parent is None:
            raise RuntimeError(f"TaskGroup {self!r} cannot determine the parent task")
        self._loop, self._parent, self._is_entered = loop, parent, True
        _count_requests(parent)
        return self

    async def __aexit__(
        self, exc_type: Optional[Type[BaseException]], exc: Optional[BaseException], traceback: Optional[TracebackType]
    ) -> None:
        self._is_leaving = True
        try:
            await self._leave(exc)
        finally:
            # The errors refer to frames, and the frames to this group.
            self._parent, self._errors, self._fatal = None, [], None
            del self, exc, traceback

    async def _leave(self, exc: Optional[BaseException]) -> None:
        if exc is not None and _is_fatal(exc) and self._fatal is None:
            self._fatal = exc
        cancelled = exc if isinstance(exc, asyncio.CancelledError) else None
        # Only this group has cancelled the parent.
        if self._has_stopped_parent and self._parent.uncancel() == 0:
            cancelled = None
        if exc is not None and not self._is_stopping:
            self._stop()
        try:
            cancelled = await self._wait() or cancelled
            if self._fatal is not None:
                raise self._fatal
            if cancelled is not None and not self._errors:
                raise cancelled
            if exc is not None and not isinstance(exc, asyncio.CancelledError):
                self._errors.append(exc)
            if self._errors:
                raise BaseExceptionGroup("unhandled errors in a TaskGroup", self._errors) from None
        finally:
            del self, exc, cancelled  # as in `__aexit__`

    async def _wait(self) -> Optional[asyncio.CancelledError]:
        cancelled: Optional[asyncio.CancelledError] = None
        try:
            while self._tasks:
                self._when_empty = when_empty = self._loop.create_future()
                try:
                    await when_empty
                except asyncio.CancelledError as error:
                    # Either a cancellation from outside, or this group's own, which arrives late.
                    if not self._is_stopping:
                        cancelled = error
                        self._stop()
                self._when_empty = None
            return cancelled
        finally:
            del self, cancelled  # as in `__aexit__`

    def create_task(self, coro: Coroutine[Any, Any, T], *, name: Optional[str] = None) -> Task[T]:
        """
        Start a task that the group waits for.
        """
        if not self._is_entered:
            raise RuntimeError(f"TaskGroup {self!r} has not been entered")
        if self._is_leaving and not self._tasks:
            raise RuntimeError(f"TaskGroup {self!r} is finished")
        if self._is_stopping:
            raise RuntimeError(f"TaskGroup {self!r} is shutting down")
        task: Task[T] = self._loop.create_task(coro)
        if name is not None:
            task.set_name(name)
        self._tasks.add(task)
        task.add_done_callback(self._has_ended)
        try:
            return task
        finally:
            del task  # an eager task may have failed already; its traceback holds this frame

    def _has_ended(self, task: Task[Any]) -> None:
        self._tasks.discard(task)
        if self._when_empty is not None and not self._tasks and not self._when_empty.done():
            self._when_empty.set_result(None)
        error = None if task.cancelled() else task.exception()
        if error is None:
            return
        self._errors.append(error)
        if _is_fatal(error) and self._fatal is None:
            self._fatal = error
        if self._parent is None or self._parent.done():
            # The parent has left the group by hand, without waiting.
            self._loop.call_exception_handler(
                {
                    "message": f"Task {task!r} has errored out, but the task that it was a part of has ended",
                    "exception": error,
                    "task": task,
                }
            )
        elif not self._is_stopping and not self._has_stopped_parent:
            self._stop()
            self._has_stopped_parent = True
            self._parent.cancel()

    def _stop(self) -> None:
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()


def _is_fatal(error: BaseException) -> bool:
    return isinstance(error, (SystemExit, KeyboardInterrupt))


def _count_requests(task: Any) -> None:
    """
    Make a task count its cancellation requests, as all tasks do since 3.11.

    The task gets attributes `cancel`, `cancelling` and `uncancel` of its own, and keeps them.
    """
    if not hasattr(task, "uncancel"):
        requests = _Requests(task)
        task.cancel, task.cancelling, task.uncancel = requests.cancel, requests.cancelling, requests.uncancel


class _Requests:
    __slots__ = ("_count", "_task")

    def __init__(self, task: Task[Any]) -> None:
        self._task = weakref.ref(task)  # the task refers to this object
        self._count = 0

    def cancel(self, *args: Any, **kwargs: Any) -> bool:
        task = self._task()
        if task is None or task.done():
            return False
        self._count += 1
        return type(task).cancel(task, *args, **kwargs)

    def cancelling(self) -> int:
        return self._count

    def uncancel(self) -> int:
        self._count = max(0, self._count - 1)
        return self._count
