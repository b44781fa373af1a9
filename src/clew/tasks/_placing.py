"""
How an async function is handed to trio or anyio such that its task runs in a given context.

asyncio takes coroutines, and from 3.11 on a context with them: see `clew.tasks._asyncio_tasks`.
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

__all__ = ("Placed", "TaskCoroutine", "TrioTaskCoroutine", "placed", "placed_coroutine")


class TaskCoroutine(ContextCoroutine):
    """
    Be a coroutine that is a task's from the beginning, so that one whose task never came to it is closed in silence.
    """

    __slots__ = ()

    def __del__(self) -> None:
        if self._is_started:
            super().__del__()
        else:
            self._coroutine.close()


class TrioTaskCoroutine(TaskCoroutine):
    """
    Be the coroutine of a trio task whose context becomes the task's own at the first step.

    trio enters that from the next step on, and so does all that asks the task for its context, such as
    `trio.from_thread.run`. What is left to do here is to call the coroutine.
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
            del value  # as there

    def _begin(self) -> None:
        super()._begin()
        # When the context is entered, and not before: one that is in use elsewhere is not to become the task's.
        self._send = partial(self._make_own, self._send)

    def _step_refused(self, step: Callable[..., Any], *args: Any) -> Any:
        # Which refers to this.
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


def placed_coroutine(coro: Any, context: Union[Context, Snapshot], kind: Type[TaskCoroutine]) -> Any:
    """
    Return a coroutine of that kind, which runs `coro` in `context`.

    What is no coroutine is refused by the loop, in its own words.
    """
    if not isinstance(coro, Coroutine):
        return coro
    if isinstance(context, Snapshot):
        return kind(coro, context.context(), context._carried, is_copy=True)
    return kind(coro, context)


class Placed(StandIn):
    """
    Stand for an async function of which each call gives a coroutine that runs in a context.
    """

    def __init__(self, fn: Any, context: Union[Context, Snapshot], kind: Type[TaskCoroutine]) -> None:
        self._fn = fn
        self._context = context
        self._kind = kind
        # With the name, what anyio names a task after.
        self.__module__ = getattr(fn, "__module__", "")

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        return placed_coroutine(self._fn(*args, **kwargs), self._context, self._kind)


def placed(fn: Any, context: Any, kind: Type[TaskCoroutine], *, stand_in: Type[Placed] = Placed) -> Any:
    """
    Return what stands for an async function; what cannot be called is refused by the loop, in its own words.
    """
    context = checked_context(context)
    return stand_in(fn, context, kind) if callable(fn) else fn
