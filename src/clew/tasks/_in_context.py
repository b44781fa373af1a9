"""
Async functions for trio and anyio whose tasks run in a given context.

Tasks of asyncio are in `clew.tasks._asyncio_tasks`.

Guarantees:
    - A context in which another task or thread is running never becomes the context of a trio task.

Assumes:
    - trio reads `task.context` before each step of a task, also after the first.
"""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from contextvars import Context
from functools import partial
from typing import Any, Callable, Type, Union

from clew.context._stepping.captured import checked_context
from clew.context._stepping.coroutines import ContextCoroutine
from clew.context._stepping.stand_ins import StandIn
from clew.context.snapshot import Snapshot

__all__ = ("FunctionInContext", "TaskCoroutine", "TrioTaskCoroutine", "coroutine_in_context", "function_in_context")


class TaskCoroutine(ContextCoroutine):
    """
    A coroutine owned by a task. If the task never starts it, it is closed without the "never awaited" warning.
    """

    __slots__ = ()

    def __del__(self) -> None:
        if self._is_started:
            super().__del__()
        else:
            self._coroutine.close()


class TrioTaskCoroutine(TaskCoroutine):
    """
    The coroutine of a trio task. At the first step its context becomes the task's own.

    From then on trio itself enters it, and so do functions that read the task's context, such as
    `trio.from_thread.run`. So later steps only call the coroutine.
    """

    __slots__ = ("_is_own",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_own = False

    def __next__(self, value: Any = None) -> Any:
        try:
            if self._is_own:
                return self._call_in_place(self._send, value)
            return super().__next__(value)
        finally:
            del value  # as in `ContextCoroutine.__next__`

    def _begin(self) -> None:
        super()._begin()
        # Inside of the context: if it is in use elsewhere, entering it fails before it becomes the task's.
        self._send = partial(self._make_own, self._send)

    def _step_refused(self, step: Callable[..., Any], *args: Any) -> Any:
        self._send = self._coroutine.send
        try:
            return super()._step_refused(self._send if isinstance(step, partial) else step, *args)
        finally:
            del args  # as in `throw`

    def _make_own(self, send: Callable[[Any], Any], value: Any) -> Any:
        self._send = send
        sys.modules["trio"].lowlevel.current_task().context = self._context
        self._is_own = True
        return send(value)


def coroutine_in_context(coro: Any, context: Union[Context, Snapshot], kind: Type[TaskCoroutine]) -> Any:
    """
    Return a coroutine of class `kind` that runs `coro` in `context`.

    An object that is not a coroutine is returned unchanged: the loop refuses it with an error of its own.
    """
    if not isinstance(coro, Coroutine):
        return coro
    if isinstance(context, Snapshot):
        return kind(coro, context.context(), context._carried, is_copy=True)
    return kind(coro, context)


class FunctionInContext(StandIn):
    """
    A stand-in for an async function. Its calls return coroutines that run in a context.
    """

    def __init__(self, fn: Any, context: Union[Context, Snapshot], kind: Type[TaskCoroutine]) -> None:
        self._fn = fn
        self._context = context
        self._kind = kind
        # anyio names a task after the module and the name.
        self.__module__ = getattr(fn, "__module__", "")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return coroutine_in_context(self._fn(*args, **kwargs), self._context, self._kind)


def function_in_context(
    fn: Any, context: Any, kind: Type[TaskCoroutine], *, stand_in: Type[FunctionInContext] = FunctionInContext
) -> Any:
    """
    Return a stand-in for an async function.

    An object that cannot be called is returned unchanged: the loop refuses it with an error of its own.
    """
    context = checked_context(context)
    return stand_in(fn, context, kind) if callable(fn) else fn
